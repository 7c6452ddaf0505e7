"""A thread beside the computing ones, whose own torch operations stay within it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import torch


def one_thread_beside(name: str) -> ThreadPoolExecutor:
    """One thread that computes alone while torch's threads work on something else.

    Every Python thread has a team of OpenMP threads of its own as soon as it divides an operation. GNU's
    OpenMP counts the threads of all teams: with more of them than cores none waits for the others by spinning
    any longer, all sleep at the end of every parallel loop, and a step of a small network takes a quarter
    more. A thread that divides nothing has no team.

    Args:
        name: of the thread, a number follows.
    """
    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(1, thread_name_prefix=name)
    pool.submit(_compute_alone).result()
    torch.set_num_threads(threads)  # what threads that are yet to come begin with was set there, too
    return pool


def _compute_alone() -> None:
    torch.set_num_threads(1)
    torch.get_num_threads()  # torch takes its number over when a thread first asks or divides, then keeps it
