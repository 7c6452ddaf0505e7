"""`bench doctor`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(short_help="Look at what a run needs of this machine.")
@click.option(
    "--runs", type=click.Path(path_type=Path), default=Path("runs"), help="Folder of the run folders."
)
def doctor(runs: Path) -> None:
    """Look at what a run needs of this machine; exit code 1 when something would fail."""
    from bench.doctor import examine

    statuses = set()
    for finding in examine(runs):
        remedy = f"; {finding.remedy}" if finding.remedy else ""
        click.echo(f"{finding.status:<4}  {finding.topic:<8}  {finding.text}{remedy}")
        statuses.add(finding.status)
    if "fail" in statuses:
        raise SystemExit(1)
