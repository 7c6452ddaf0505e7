"""`bench speed`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import click

from bench.errors import BenchError, UserError


@click.command()
@click.option("--only", metavar="PATTERN", help="Tests whose name holds it ('losses', 'hard and not soft').")
@click.option("--compare", "revision", metavar="REV", help="Race this tree against another commit instead.")
@click.option("--passes", type=click.IntRange(min=2), default=4, show_default=True, help="Of --compare.")
@click.option("--record", "title", metavar="TITLE", help="Keep what --compare found, for the page.")
@click.option("--page", "page_only", is_flag=True, help="Write docs/SPEED.md from what is recorded; no race.")
def speed(only: str | None, revision: str | None, passes: int, title: str | None, page_only: bool) -> None:
    """Measure speed beside other code, and write docs/SPEED.md.

    Runs the races of tests/speed; every contestant of a race takes turns with the others in one process.
    """
    if title is not None and revision is None:
        raise UserError("--record keeps a comparison; say with which commit: --compare REV")
    if page_only and (only or revision):
        raise UserError("--page measures nothing; leave out --only and --compare")
    from bench import speed as races

    folder = races.find_races()
    docs = folder.parents[1] / "docs"
    failures: list[str] = []
    command = shlex.join(["bench", *sys.argv[1:]])
    if revision is not None:
        rows = races.compare(folder, revision, only, passes, report=_say)
        for row in rows:
            verdict = "" if row.ratio.is_clear else "  (no clear difference)"
            click.echo(
                f"{row.ratio.value:6.2f}x [{row.ratio.low:.2f}, {row.ratio.high:.2f}]  "
                f"{row.table}: {row.row}{verdict}"
            )
        if title is None:
            return
        races.record(
            docs / "speed" / "compare", rows, title=title, revision=revision, passes=passes, command=command
        )
    elif not page_only:
        written, failures = races.measure(folder, only, docs / "speed", command, report=_say)
        for path in written:
            click.echo(_shown(path))
    races.write_page(docs / "speed", docs / "SPEED.md")
    click.echo(_shown(docs / "SPEED.md"))
    if failures:
        raise BenchError("\n".join(["these races are not on the page:", *failures]))


def _say(text: str) -> None:
    click.echo(text, err=True)


def _shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
