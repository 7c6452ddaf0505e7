"""Memory that a training step gives back stays with the process, for the next step asks for as much again."""

from __future__ import annotations

import ctypes
import os
import sys

# <malloc.h>
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_IN_HEAP = 32 * 2**20  # bytes; the most that glibc takes
_KEPT = 2**30
_SET_BY_USER = ("GLIBC_TUNABLES", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_", "MALLOC_TRIM_THRESHOLD_")


def keep_freed_memory() -> bool:
    """Let the C library keep up to 1 GiB of freed memory, instead of returning it after every step.

    glibc returns what is free at the end of its heap to the system, and the system zeroes each page that it
    gives out anew: a fifteenth of a step of the small backbone on a CPU. Nothing else needs more memory for
    it: what is kept is what the step before needed. Which sizes glibc takes from its heap follows from what
    has been freed before; here it is the same from the first step on.

    Returns:
        Whether it does: only glibc can, and what the user's environment says of it goes first.
    """
    if sys.platform != "linux" or any(name in os.environ for name in _SET_BY_USER):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # musl
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _LARGEST_IN_HEAP) and mallopt(_M_TRIM_THRESHOLD, _KEPT))
