"""What `bench` raises on purpose. The command line prints each as one line, without a traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class BenchError(Exception):
    """Something went wrong that a person can act on; the message is the whole story, one line.

    What a stranger's file brings into a message cannot steer the terminal: control characters are spelled
    out.
    """

    exit_code = 1

    def __init__(self, message: object = "") -> None:
        super().__init__(printable(str(message)))


class UserError(BenchError):
    """The user asked for something that cannot be: rule + value + remedy. Nothing was written."""

    exit_code = 2


class ConfigError(UserError):
    """Every problem found in a configuration, one line each: `file:line: path: problem`."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(map(printable, problems))
        super().__init__("\n".join(self.problems))


class TrainingError(BenchError):
    """Training cannot go on (a loss that is not finite, say); names the step."""


class Killed(BaseException):
    """SIGINT or SIGTERM arrived. Not an Exception: nothing between the loop and `run` may swallow it."""

    def __init__(self, signal_name: str, remedy: str = "continue with --resume") -> None:
        self.signal_name = signal_name
        self.remedy = remedy
        super().__init__(signal_name)


class Pruned(Killed):
    """Whoever hears how a run goes (`Progress.validation`) has seen enough of it: a search, for example."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def printable(text: str) -> str:
    r"""The text with control characters, odd separators and halves of characters spelled out; newlines stay.

    >>> printable("red: \x1b[31m")
    'red: \\x1b[31m'
    """
    if text.replace("\n", "").isprintable():
        return text
    return "".join(one if one.isprintable() or one == "\n" else ascii(one)[1:-1] for one in text)


def one_line(text: object, limit: int = 300) -> str:
    """What another library says, in one line of bounded length."""
    line = " ".join(str(text).split())
    return line if len(line) <= limit else f"{line[:limit]} ..."


def did_you_mean(word: str, candidates: Iterable[str], *, cutoff: float = 0.6) -> str:
    """The end of an error message: `; did you mean 'margin'?`, or nothing when no candidate is near.

    Args:
        word: what was written.
        candidates: what there is.
        cutoff: difflib's ratio from which a candidate is near; 1 is equal.
    """
    near = difflib.get_close_matches(word, list(candidates), n=1, cutoff=cutoff)
    return f"; did you mean '{near[0]}'?" if near else ""
