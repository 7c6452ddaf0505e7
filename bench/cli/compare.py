"""`bench compare`: run what is missing, then report."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.arguments import Workers, split_arguments, workers_option
from bench.cli.counting import counted
from bench.cli.report import DEFAULT_OUT, write
from bench.cli.running import Planned, do_runs, plan, unfinished
from bench.errors import ConfigError, UserError

if TYPE_CHECKING:
    from bench.config.variants import Comparison
    from bench.pool import Outcome

_SEEDS = 3


@click.command()
@click.argument("arguments", nargs=-1, required=True, metavar="CONFIG... [key=value ...]")
@click.option("--seeds", type=click.IntRange(min=1),
              help=f"Runs of each CONFIG: seed, seed+1, ... [default: {_SEEDS}, or the file's].")  # fmt: skip
@workers_option("Runs at a time: one a GPU; without a GPU the CPUs are divided.")
@click.option("--out", type=click.Path(path_type=Path), default=DEFAULT_OUT, show_default=True,
              help="Folder of the report.")  # fmt: skip
@click.option("--baseline", metavar="NAME", help="Compare every configuration with this one alone.")
@click.option("--records", is_flag=True,
              help="Write the records beside the report, so that its tables can be made again.")  # fmt: skip
@click.option("--log", is_flag=True, help="Store the report in MLflow too.")
def compare(
    arguments: tuple[str, ...],
    seeds: int | None,
    workers: Workers,
    out: Path,
    baseline: str | None,
    records: bool,
    log: bool,
) -> None:
    """Run what is missing of a comparison, then report it.

    CONFIG is as in 'bench run'; or one comparison file, with a base configuration and named changes to it. A
    run (settings, seed, data) that has finished is not trained again, an interrupted one is continued.

    \b
    bench compare softmax center triplet --seeds 5 --workers auto
    bench compare configs/compare/why_triplet.yaml
    """
    from bench.config.variants import read_comparison

    sources, overrides = split_arguments(arguments)
    comparisons = {source: found for source in sources if (found := read_comparison(source))}
    if comparisons and len(sources) > 1:
        first = next(iter(comparisons))
        raise UserError(f"{first}: is a comparison of its own; give it alone")
    if comparisons:
        (comparison,) = comparisons.values()
        planned = planned_comparison(comparison, overrides, seeds)
        baseline = baseline or planned[0].config.name
        title = comparison.description or Path(sources[0]).stem
    else:
        planned = [each for source in sources for each in plan(source, overrides, seeds or _SEEDS)]
        title = f"{', '.join(dict.fromkeys(each.config.name for each in planned))}"
    missing = unfinished(planned)
    click.echo(_forecast(planned, missing, workers), err=True)
    _, failures = do_runs(missing, workers, resume=True, again=False, keeps_going=True)
    _report(planned, failures, title, baseline, out, records=records, log=log, is_waterfall=bool(comparisons))
    if failures:
        raise SystemExit(max(outcome.exit_code for outcome in failures))


def planned_comparison(comparison: Comparison, overrides: list[str], seeds: int | None) -> list[Planned]:
    """Base first, then each variant under its own name.

    Args:
        comparison: what the file says.
        overrides: `key=value`, for the base and all variants.
        seeds: runs of each; None: as many as the file says.

    Raises:
        ConfigError: a variant is not valid, or changes nothing; with the line it was written on.
    """
    count = seeds or comparison.seeds
    planned = plan(comparison.base, overrides, count)
    names = {planned[0].config.hash: "the base"}
    problems: list[str] = []
    for name, changes in comparison.variants.items():
        where = f"{comparison.origins[name]}: variants.{name}"
        try:
            variant = plan(comparison.base, [*overrides, *changes, f"name={name}"], count)
        except ConfigError as error:
            problems += [f"{where}: {line.removesuffix(' (command line)')}" for line in error.problems]
            continue
        earlier = names.setdefault(variant[0].config.hash, name)
        if earlier != name:
            problems.append(f"{where}: asks for the same settings as {earlier}; change something")
        planned += variant
    if problems:
        raise ConfigError(problems)
    return planned


def _forecast(planned: Sequence[Planned], missing: Sequence[Planned], workers: Workers) -> str:
    """How many runs are missing; where finished ones of the comparison tell, how long they will take."""
    from bench.engine import run_path
    from bench.pool import choose_slots
    from bench.results import RunFolder

    seconds: dict[str, list[float]] = {}
    for each in planned:
        record = None if each in missing else RunFolder(run_path(each.config)).record()
        if record is not None:
            seconds.setdefault(each.config.hash, []).append(record.timing.wall_s)
    runs, done = counted(len(planned), "run"), len(planned) - len(missing)
    if not missing:
        return f"{runs}, all finished before; nothing to train"
    start = f"{runs}, {done} finished before, {len(missing)} to train"
    known = [value for values in seconds.values() for value in values]
    if not known:
        return f"{start}; how long one takes here is not known yet"
    usual = sum(known) / len(known)
    total = sum(
        sum(seconds[key]) / len(seconds[key]) if key in seconds else usual
        for key in (each.config.hash for each in missing)
    )
    slots = len(choose_slots(workers, len(missing)))
    return f"{start}; about {max(1, round(total / slots / 60))} min, going by the finished ones"


def _report(
    planned: Sequence[Planned],
    failures: Sequence[Outcome],
    title: str,
    baseline: str | None,
    out: Path,
    *,
    records: bool,
    log: bool,
    is_waterfall: bool,
) -> None:
    from bench.engine import run_path
    from reports.records import Collection, Gap, read_runs
    from reports.report import Wishes

    folders = [run_path(each.config) for each in planned]
    found = read_runs([folder for folder in folders if (folder / "state.json").exists()])
    # what failed before it had a folder
    gaps = [
        Gap(outcome.job.title, f"failed: {outcome.error}")
        for outcome in failures
        if not (outcome.job.folder / "state.json").exists()
    ]
    names = tuple(dict.fromkeys(each.config.name for each in planned))
    source = " ".join(shlex.quote(each) for each in _command(planned, is_waterfall=is_waterfall))
    tracking = planned[0].config.tracking
    write(
        Collection(found.runs, (*found.gaps, *gaps)),
        Wishes(title, baseline, names, (source,) if source else (), waterfall=is_waterfall),
        out,
        with_records=records,
        log=(tracking.uri, tracking.experiment) if log else None,
    )


def _command(planned: Sequence[Planned], *, is_waterfall: bool) -> list[str]:
    """What was typed, as far as it says what was run."""
    if is_waterfall:
        return []  # the records name each variant's settings; the file may lie anywhere
    first = planned[0]
    sources = list(dict.fromkeys(each.source for each in planned))
    seeds = len({each.config.seed for each in planned})
    return ["bench", "compare", *sources, *first.overrides, "--seeds", str(seeds)]
