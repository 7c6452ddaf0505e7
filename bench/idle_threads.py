"""How long a thread of OpenMP's waits for the others by spinning before it sleeps."""

from __future__ import annotations

import os

_SPINS = "1000"


def let_idle_threads_sleep() -> None:
    """Spin for some 20 us, then sleep; to be called before torch is imported. What the user has set stays.

    GNU's OpenMP would spin for milliseconds: where anything else wants the cores, a step of the small network
    then takes 1.3 to 4 times as long. Told to sleep at once (PASSIVE alone), it takes 1.2 times as long where
    nothing else does. Other OpenMPs know PASSIVE only.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        os.environ |= {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": _SPINS}
