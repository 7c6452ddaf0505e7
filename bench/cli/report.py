"""`bench report`."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.counting import counted
from bench.errors import UserError

if TYPE_CHECKING:
    from reports.records import Collection
    from reports.report import Look, Wishes

DEFAULT_OUT = Path("runs/report")


@click.command(short_help="Compare finished runs: tables, tests, figures.")
@click.argument("more", nargs=-1, metavar="")
@click.option("--dir", "folders", multiple=True, type=click.Path(path_type=Path), metavar="FOLDER",
              help="Run folders, folders of them, or folders of records [default: runs].")  # fmt: skip
@click.option("--experiment", metavar="NAME", help="All runs of an MLflow experiment.")
@click.option("--runs", multiple=True, metavar="ID...", help="Runs by MLflow's ids.")
@click.option(
    "--study", metavar="NAME", help="A study instead: its course, importance, best, budget, failures."
)
@click.option("--storage", metavar="URL", help="With --study: where it is, if not in runs/studies/.")
@click.option("--uri", help="MLflow store [default: MLFLOW_TRACKING_URI, else mlflow.db here].")
@click.option("--out", type=click.Path(path_type=Path), metavar="FOLDER",
              help=f"Folder to write to [default: {DEFAULT_OUT}; of a study its own].")  # fmt: skip
@click.option("--baseline", metavar="NAME", help="Compare every configuration with this one alone.")
@click.option("--title", default="Comparison", show_default=True, help="Heading of the report.")
@click.option("--records", is_flag=True,
              help="Write the records beside the report, so that its tables can be made again.")  # fmt: skip
@click.option("--faces/--no-faces", default=True, show_default=True,
              help="Embedding maps and hardest pairs, from the weights in run folders.")  # fmt: skip
@click.option("--log", is_flag=True, help="Store the report in MLflow too, as a run's artifacts.")
@click.option("--readme", type=click.Path(path_type=Path), metavar="FILE",
              help="Only bring the tables of a Markdown file up to date, from records.")  # fmt: skip
def report(
    more: tuple[str, ...],
    folders: tuple[Path, ...],
    experiment: str | None,
    runs: tuple[str, ...],
    study: str | None,
    storage: str | None,
    uri: str | None,
    out: Path | None,
    baseline: str | None,
    title: str,
    records: bool,
    faces: bool,
    log: bool,
    readme: Path | None,
) -> None:
    """Compare finished runs: tables, tests, figures, and everything in which they differ but the loss.

    Writes report.md, report.html (one file with everything in it), table.csv and figures/. The same runs give
    the same files, to the byte.

    \b
    bench report                                        the runs below runs/
    bench report --experiment faceloss-bench --log      from MLflow, and back to it
    bench report --dir runs --out docs/findings/rendered --records
    bench report --study triplet                        a study, finished or not
    bench report --readme README.md                     its tables, from the records they name
    """
    if readme is not None:
        _update(readme)
        return
    if more and not runs:
        raise UserError(f"{more[0]}: say --dir {more[0]} for a folder, or --runs {more[0]} for an MLflow run")
    if study is not None:
        _refuse_beside_study(experiment=experiment, runs=runs, baseline=baseline, records=records)
        _report_study(study, folders, storage, out, uri, log=log)
        return
    if storage is not None:
        raise UserError("--storage: says where a study is; name it with --study")
    if sum(map(bool, (folders, experiment, runs))) > 1:
        raise UserError("--dir, --experiment and --runs say where the runs are: choose one of them")
    out = out or DEFAULT_OUT
    from reports.report import Wishes

    with ExitStack() as stack:
        if experiment or runs:
            collection = _from_mlflow(stack, uri, experiment, (*runs, *more))
        else:
            from reports.records import read_runs

            collection = read_runs(folders or (Path("runs"),))
        wishes = Wishes(title=title, baseline=baseline)
        write(
            collection,
            wishes,
            out,
            with_records=records,
            with_faces=faces,
            log=(uri, experiment) if log else None,
        )


def write(
    collection: Collection,
    wishes: Wishes,
    out: Path,
    *,
    with_records: bool = False,
    with_faces: bool = True,
    log: tuple[str | None, str | None] | None = None,
) -> None:
    """Make and write a report, and say what came out.

    Args:
        collection: the runs.
        wishes: what the person asked for.
        out: folder to write to.
        with_records: write the records too.
        with_faces: look at what the runs' weights make of some faces, where there are weights.
        log: address and experiment of the MLflow store that gets it; None: none does.
    """
    from reports.report import make_report
    from reports.writing import write_report

    made = make_report(collection, wishes, _look(collection) if with_faces else None)
    files = write_report(made, out, with_records=with_records)
    for line in made.verdicts:
        click.echo(line)
    for gap in collection.gaps:
        click.echo(f"not in the report: {gap.what}: {gap.reason}", err=True)
    click.echo(
        f"report of {counted(len(collection.runs), 'run')}: {out / 'report.md'}, {out / 'report.html'}"
    )
    if log is not None:
        about = "\n".join(
            sorted(f"{r.config_hash} {r.seed} {r.data_checksum}" for r in made.records.values())
        )
        _store(log, out, files, title=wishes.title, about=about)


def _look(collection: Collection) -> Look | None:
    """Whatever finds faces; None where no weights lie, so that nobody waits for torch in vain."""
    folders = [run.folder for run in collection.runs]
    if not any(folder is not None and folder.checkpoints.is_dir() for folder in folders):
        return None
    from bench.portraits import faces_of

    return faces_of


def _store(
    where: tuple[str | None, str | None], out: Path, files: Sequence[Path], *, title: str, about: str
) -> None:
    """Store the files in MLflow; title and `about` together say which report it is."""
    from bench import tracking

    uri, experiment = where
    key = "report-" + hashlib.sha256(f"{title}\n{about}".encode()).hexdigest()[:16]
    settings = tracking.prepare(tracking.TrackingSettings(uri=uri, experiment=experiment))
    run_id = tracking.upload_report(settings, out, files, name=f"report: {title}", key=key)
    click.echo(f"stored in MLflow as run {run_id}")


def _refuse_beside_study(
    *, experiment: str | None, runs: tuple[str, ...], baseline: str | None, records: bool
) -> None:
    given = {"--experiment": experiment, "--runs": runs, "--baseline": baseline, "--records": records}
    for option, value in given.items():
        if value:
            raise UserError(f"{option}: compares runs, and --study reports a search; leave one of them out")


def _report_study(
    name: str, folders: tuple[Path, ...], storage: str | None, out: Path | None, uri: str | None, *, log: bool
) -> None:
    if len(folders) > 1:
        raise UserError("--study: is below one folder of runs; give --dir once")
    from bench.study.folder import study_path
    from bench.study.report import study_report
    from reports.writing import write_report

    runs = folders[0] if folders else Path("runs")
    made = study_report(name, runs, storage)
    out = out or study_path(runs, name)
    files = write_report(made, out)
    for line in made.verdicts:
        click.echo(line)
    click.echo(f"report of study {name}: {out / 'report.md'}, {out / 'report.html'}")
    if log:
        _store((uri, None), out, files, title=f"study {name}", about=name)


def _from_mlflow(
    stack: ExitStack, uri: str | None, experiment: str | None, run_ids: tuple[str, ...]
) -> Collection:
    from bench import tracking
    from reports.records import Collection, read_runs

    local = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-report-")))
    settings = tracking.TrackingSettings(uri=uri, experiment=experiment)
    found = tracking.download_runs(settings, local, run_ids=run_ids)
    return read_runs(found) if found else Collection((), ())


def _update(readme: Path) -> None:
    from bench.results import write_text
    from reports.readme import updated

    try:
        text = readme.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--readme: {readme} cannot be read: {error}") from None
    new, places = updated(text, readme.parent)
    if not places:
        raise UserError(
            f"--readme: {readme} names no records; put '<!-- figures of FOLDER -->' and '<!-- end of figures "
            "-->' where their table is to stand"
        )
    if new != text:
        write_text(readme, new)
    click.echo(f"{readme}: {len(places)} table(s), {'brought up to date' if new != text else 'up to date'}")
