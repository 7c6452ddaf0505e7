"""Where prepared data, and what else can be made again, lies between runs."""

from __future__ import annotations

import os
from pathlib import Path

from bench.errors import UserError


def cache_folder() -> Path:
    """`$BENCH_CACHE`, or faceloss-bench in the user's cache folder."""
    if chosen := os.environ.get("BENCH_CACHE"):
        try:
            return Path(chosen).expanduser()
        except RuntimeError:
            raise UserError(f"BENCH_CACHE: {chosen}: there is no such user's home folder") from None
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "faceloss-bench"
