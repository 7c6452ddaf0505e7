"""Where prepared data lies between runs."""

from __future__ import annotations

from bench.location import cache_folder

__all__ = ["cache_folder"]
