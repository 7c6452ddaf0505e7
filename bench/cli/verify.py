"""`bench verify`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.arguments import write_json_to
from bench.cli.runs import find_run
from bench.errors import UserError

if TYPE_CHECKING:
    from bench.judge.photos import Decision
    from bench.results import Threshold, Thresholds

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("run", type=_PATH, callback=find_run)
@click.argument("photos", nargs=-1, required=True, type=_PATH, metavar="PHOTO PHOTO | FOLDER | LIST.csv")
@click.option("--far", type=float, default=1e-3, show_default=True, help="False accept rate to allow.")
@click.option("--no-align", is_flag=True, help="The images are face crops already: take them as they are.")
@click.option("--thresholds", type=_PATH, help="thresholds.json to use [default: the run's own].")
@click.option("--data", help="Pairs that the threshold comes from, where the file has several.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps.")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of text.")
def verify(
    run: Path,
    photos: tuple[Path, ...],
    far: float,
    no_align: bool,
    thresholds: Path | None,
    data: str | None,
    device: str,
    as_json: bool,
) -> None:
    """Are two photos of one person?

    RUN is the folder of a run, its name in ./runs, its MLflow id, or a checkpoint. The face is found in each
    photo, cut out as 'bench align' cut the run's own, and embedded; the distance is compared with the
    threshold that the run saved for this FAR, found on its validation pairs.
    The answer is in the text; the exit code is 0 either way.

    \b
    bench verify runs/center-0a1b2c3d-s0 a.jpg b.jpg --far 1e-2
    bench verify runs/center-0a1b2c3d-s0 a.jpg album/     a.jpg with each photo in album/
    bench verify runs/center-0a1b2c3d-s0 album/           every two photos in it
    bench verify runs/center-0a1b2c3d-s0 list.csv         columns left,right and perhaps same
    """
    if not 0 < far < 1:
        raise UserError(f"--far must lie between 0 and 1, but got {far:g}")
    from bench.device import choose_device
    from bench.judge import photos as photos_
    from bench.judge.models import model_of_run
    from bench.results import RunFolder, read_thresholds

    pairs = photos_.photo_pairs(photos)
    model = model_of_run(run, choose_device(device))
    # a checkpoint lies in RUN/checkpoints
    path = thresholds or RunFolder(run if run.is_dir() else run.absolute().parent.parent).thresholds
    document = read_thresholds(path)
    photos_.check_same_preprocessing(model, document, path)
    threshold = photos_.choose_threshold(document, path, far=far, data=data)
    decisions = photos_.decide(model, document, threshold, pairs, align=not no_align)
    if as_json:
        write_json_to("-", photos_.as_json(model, document, threshold, far, decisions, align=not no_align))
        return
    for line in answer_lines(document, threshold, far, decisions):
        click.echo(line)
    if not no_align:
        click.echo(photos_.how_cut_out(document))


def answer_lines(
    document: Thresholds, threshold: Threshold, far: float, decisions: Sequence[Decision]
) -> list[str]:
    """What is said of the pairs, and what the decision rests on.

    Args:
        document: that holds the threshold.
        threshold: the one in use.
        far: the false accept rate that was asked for.
        decisions: one a pair.
    """
    from bench.verification import far_key

    lines = [
        f"{'same person' if one.is_accepted else 'different people'}  distance {one.distance:.4f}  "
        f"{one.pair.left}  {one.pair.right}"
        for one in decisions
    ]
    lines.append(
        f"threshold {threshold.threshold:.4f} ({document.metric}) at FAR {far_key(far)}, "
        f"from {threshold.num_impostor:,} impostor pairs of {threshold.source}"
    )
    low, high = threshold.far_interval
    if threshold.far is not None and low is not None and high is not None and not threshold.false_accepts:
        lines.append(
            f"no impostor pair was accepted there: the chance of a false accept is below {high:.3%} "
            f"({threshold.confidence:.0%} interval)"
        )
    elif threshold.far is not None and low is not None and high is not None:
        lines.append(
            f"chance of a false accept {threshold.far:.3%} ({threshold.confidence:.0%} interval "
            f"{low:.3%} to {high:.3%})"
        )
    known = [one for one in decisions if one.pair.same is not None]
    if known:
        right = sum(one.is_accepted == one.pair.same for one in known)
        lines.append(f"{right:,} of {len(known):,} pairs decided as the list says")
    if threshold.warning:
        lines.append(f"warning: {threshold.warning}")
    return lines
