"""Where data lies: what people give, and what is prepared between runs."""

from __future__ import annotations

import os
import re
from pathlib import Path

from bench.errors import UserError

_VARIABLE = re.compile(r"\$\{([^}]*)\}|\$([A-Za-z_][A-Za-z0-9_]*)")


def given_path(text: str, option: str) -> Path:
    """A path from a configuration: `${NAME}` and `~` are expanded, a relative one starts where bench does.

    Only paths know variables, so that a configuration can name data without naming a machine: its hash is
    over the text as it was written.

    Args:
        text: as it stands in the configuration.
        option: where it stands there, for messages.

    Raises:
        UserError: a variable that is not set, or nothing there.
    """
    if not text:
        raise UserError(f"{option}: missing; set {option}=PATH")

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        found = os.environ.get(name)
        if not found:
            raise UserError(
                f"{option}: {text}: the environment variable {name} is not set; "
                f"export {name}=... or set {option}=PATH"
            )
        return found

    try:
        path = Path(_VARIABLE.sub(value, text)).expanduser()
        exists = path.exists()
    except (RuntimeError, ValueError, OSError) as error:  # no such home; a NUL; a name that is too long
        raise UserError(f"{option}: {text}: is no path ({error})") from None
    if not exists:
        raise UserError(f"{option}: {path} does not exist; set {option}=PATH")
    return path
