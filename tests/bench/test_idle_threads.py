"""What OpenMP itself says of how its threads wait, in a command as users start it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


def said_by_openmp(**variables: str) -> str:
    others = {
        name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    }
    ended = subprocess.run(
        [sys.executable, "-m", "bench", "list", "losses", "center"],
        env={**others, "OMP_DISPLAY_ENV": "verbose", **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    if "GOMP_SPINCOUNT" not in ended.stderr:
        pytest.skip("needs a torch with GNU's OpenMP")
    return ended.stderr


def test_threads_of_a_command_spin_shortly_and_then_sleep() -> None:
    said = said_by_openmp()
    assert "OMP_WAIT_POLICY = 'PASSIVE'" in said
    assert "GOMP_SPINCOUNT = '1000'" in said


@pytest.mark.parametrize(
    ("name", "value", "spins"), [("OMP_WAIT_POLICY", "PASSIVE", "0"), ("GOMP_SPINCOUNT", "70000", "70000")]
)
def test_what_the_user_has_set_stays(name: str, value: str, spins: str) -> None:
    said = said_by_openmp(**{name: value})
    assert f"GOMP_SPINCOUNT = '{spins}'" in said
