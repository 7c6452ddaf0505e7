"""Where on a cluster trials have their place: how many GPUs and CPUs one takes, how many fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from bench.errors import UserError
from bench.study.config import StudySection


@dataclass(frozen=True, slots=True)
class Node:
    """A machine of the cluster, and what it offers in all."""

    address: str
    gpus: int
    cpus: int


@dataclass(frozen=True, slots=True)
class Share:
    """What one trial takes.

    Args:
        gpus: a fraction of one, or whole ones, which train together, a process each.
        cpus: for all its processes.
    """

    gpus: float
    cpus: int

    @property
    def processes(self) -> int:
        """That train the trial together."""
        return max(1, int(self.gpus))

    def __str__(self) -> str:
        return f"{self.gpus:g} GPUs and {self.cpus} CPUs" if self.gpus else f"{self.cpus} CPUs"


def share_of(settings: StudySection, nodes: Sequence[Node]) -> Share:
    """What a trial takes of these nodes, where the settings leave it open.

    A trial takes a GPU if there is any, and as many CPUs as every node with GPUs has for each trial on it.
    """
    gpus = settings.gpus_per_trial
    if gpus is None:
        gpus = 1.0 if any(node.gpus for node in nodes) else 0.0
    if settings.cpus_per_trial is not None:
        return Share(gpus, settings.cpus_per_trial)
    shares = [node.cpus // _fit_on_gpus(node, gpus) for node in nodes if gpus and _fit_on_gpus(node, gpus)]
    return Share(gpus, max(1, min(shares, default=1)))


def num_places(nodes: Sequence[Node], share: Share) -> int:
    """Trials that fit at a time; each is on one node."""
    return sum(_fit(node, share) for node in nodes)


def choose_workers(workers: int | Literal["auto"], nodes: Sequence[Node], share: Share, trials: int) -> int:
    """Workers on these nodes: no more than fit, nor than there are trials.

    Raises:
        UserError: no node has room for a trial, or fewer fit than were asked for.
    """
    places = num_places(nodes, share)
    if not places:
        largest = max(nodes, key=lambda node: (node.gpus, node.cpus), default=Node("", 0, 0))
        raise UserError(
            f"--launcher ray: a trial takes {share}, and no node has that (the largest: "
            f"{largest.gpus} GPUs and {largest.cpus} CPUs); set "
            "study.gpus_per_trial or study.cpus_per_trial"
        )
    if workers != "auto" and workers > places:
        raise UserError(
            f"--workers {workers}: a trial takes {share}, so the cluster has room for {places} at a time"
        )
    return min(places if workers == "auto" else workers, trials)


def _fit(node: Node, share: Share) -> int:
    by_cpus = node.cpus // share.cpus
    return min(by_cpus, _fit_on_gpus(node, share.gpus)) if share.gpus else by_cpus


def _fit_on_gpus(node: Node, gpus: float) -> int:
    """Trials by GPU alone: a fraction never spans two."""
    if gpus >= 1:
        return int(node.gpus // gpus)
    return node.gpus * int(1 / gpus + 1e-9)
