"""What the commands' arguments have in common."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from bench.errors import UserError

_OVERRIDE = re.compile(r"[A-Za-z_][\w.\-]*=")


def is_launched() -> bool:
    """Whether torchrun has started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def launched_rank() -> int:
    """Rank of this process among those that torchrun started; 0 without it. Only rank 0 speaks."""
    return int(os.environ.get("RANK", "0")) if is_launched() else 0


def split_arguments(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Configurations and `key=value` overrides, in any order.

    Raises:
        UserError: no configuration among them.
    """
    overrides = [argument for argument in arguments if _OVERRIDE.match(argument)]
    configs = [argument for argument in arguments if not _OVERRIDE.match(argument)]
    if not configs:
        raise UserError(
            "name a configuration, e.g. 'bench run center'; 'bench list configs' shows the shipped ones"
        )
    return configs, overrides
