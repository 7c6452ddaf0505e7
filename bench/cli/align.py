"""`bench align`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from bench.errors import UserError

if TYPE_CHECKING:
    from bench.data.align import AlignSettings, Summary

_DEFAULT_PX = {"box": 160, "five_point": 112}
_BOX_MARGIN_PX = 32


def _workers(context: click.Context, parameter: click.Parameter, value: str) -> int | None:
    if value == "auto":
        return None
    if value.isdigit() and int(value) > 0:
        return int(value)
    raise click.BadParameter(f"{value!r} is neither 'auto' nor a positive number")


def _shard(context: click.Context, parameter: click.Parameter, value: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)/(\d+)", value)
    number, count = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= number <= count:
        raise click.BadParameter(f"{value!r} is not i/n with i from 1 to n, such as 1/4")
    return number, count


@click.command(short_help="Find and cut out the faces of a folder or tar archive.")
@click.argument("source", metavar="SRC", type=click.Path(path_type=Path))
@click.argument("folder", metavar="DST", type=click.Path(path_type=Path))
@click.option(
    "--method",
    type=click.Choice(["box", "five_point"]),
    default="box",
    show_default=True,
    help="facenet's crop around the box, or eyes, nose and mouth brought to ArcFace's template.",
)
@click.option(
    "--size", type=click.IntRange(16, 1024), help="Pixels of the faces [default: 160; five_point: 112]."
)
@click.option(
    "--margin",
    type=click.IntRange(0, 1024),
    help="Of box, in pixels of the source, half a side [default: 32].",
)
@click.option(
    "--min-face", type=click.IntRange(20), default=20, show_default=True, help="Smallest face, pixels."
)
@click.option(
    "--landmarks",
    type=click.Path(path_type=Path),
    help="CSV with the five points of every picture: nothing is detected (implies five_point).",
)
@click.option(
    "--misses",
    type=click.Choice(["center", "skip"]),
    default="center",
    show_default=True,
    help="A picture without a face: take its centre, or leave it out.",
)
@click.option("--format", "kind", type=click.Choice(["jpg", "png"]), default="jpg", show_default=True)
@click.option(
    "--workers",
    callback=_workers,
    metavar="auto|N",
    default="auto",
    show_default=True,
    help="Processes: one a GPU, without a GPU one a CPU.",
)
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, ...")
@click.option(
    "--shard", callback=_shard, metavar="i/n", default="1/1", help="Only part i of n; parts may run anywhere."
)
def align(
    source: Path,
    folder: Path,
    method: Literal["box", "five_point"],
    size: int | None,
    margin: int | None,
    min_face: int,
    landmarks: Path | None,
    misses: Literal["center", "skip"],
    kind: Literal["jpg", "png"],
    workers: int | None,
    device: str,
    shard: tuple[int, int],
) -> None:
    """Find the faces of SRC and write them, all of one size, into DST.

    SRC is a folder identity/picture, or a tar archive of one. Of several faces the largest near the middle is
    taken. Whatever is unreadable, without a face or doubtful stands in DST/report.csv and DST/report.png.
    The same command goes on after an interruption; finished faces are kept.

    \b
    bench align lfw.tgz lfw_160
    bench align casia casia_182 --size 182 --margin 44
    bench align photos faces --method five_point
    """
    from bench.cli.counting import open_counting
    from bench.data.align import align as align_all
    from bench.data.align.landmarks import Landmarks
    from bench.data.align.run import Shard

    context = click.get_current_context()
    if landmarks is not None:
        if (
            method == "box"
            and context.get_parameter_source("method") is click.core.ParameterSource.COMMANDLINE
        ):
            raise UserError("--method box: needs boxes, --landmarks gives points; leave one of the two out")
        method = "five_point"
    if method == "five_point" and margin is not None:
        raise UserError("--margin: is of --method box; five_point takes its place from the template")
    given = None if landmarks is None else Landmarks(landmarks)
    settings = _settings(
        method,
        size_px=size or _DEFAULT_PX[method],
        margin_px=0 if method == "five_point" else _BOX_MARGIN_PX if margin is None else margin,
        min_face_px=min_face,
        misses=misses,
        kind=kind,
        landmarks_sha256=given.checksum if given is not None else "",
    )
    with open_counting("align", "images") as progress:
        summary = align_all(
            source,
            folder,
            settings,
            landmarks=given,
            devices=_devices(device, workers),
            shard=Shard(*shard),
            progress=progress,
        )
    _print(summary, folder, settings)


def _settings(
    method: Literal["box", "five_point"],
    *,
    size_px: int,
    margin_px: int,
    min_face_px: int,
    misses: Literal["center", "skip"],
    kind: Literal["jpg", "png"],
    landmarks_sha256: str,
) -> AlignSettings:
    from bench.data.align import AlignSettings

    detector = "landmarks"
    if not landmarks_sha256:
        from bench.data.align.detector import detector_name

        detector = detector_name()
    return AlignSettings(
        method=method,
        size_px=size_px,
        margin_px=margin_px,
        min_face_px=min_face_px,
        misses=misses,
        format=kind,
        detector=detector,
        landmarks_sha256=landmarks_sha256,
    )


def _devices(device: str, workers: int | None) -> list[str]:
    """One entry a process."""
    import torch

    from bench.device import choose_device, usable_cpus

    try:
        chosen = choose_device(device)
    except UserError as error:
        said = str(error).replace("runtime.device=", "--device ").replace("runtime.device", "--device")
        raise UserError(said) from None
    if chosen.type != "cuda":
        return [str(chosen)] * (workers or usable_cpus())
    gpus = (
        [str(chosen)]
        if chosen.index is not None
        else [f"cuda:{gpu}" for gpu in range(torch.cuda.device_count())]
    )
    return [gpus[number % len(gpus)] for number in range(workers or len(gpus))]


def _print(summary: Summary, folder: Path, settings: AlignSettings) -> None:
    counts = summary.counts
    done = sum(counts.values())
    per_s = (done - summary.num_kept) / summary.wall_s
    click.echo(
        f"{folder}: {done:,} pictures, {settings.size_px} x {settings.size_px} px, "
        f"{summary.num_kept:,} kept from before, {per_s:,.0f} images/s"
    )
    words = {
        "aligned": "aligned",
        "doubtful": "doubtful",
        "no_face": "without a face",
        "unreadable": "unreadable",
    }
    click.echo(", ".join(f"{counts.get(status, 0):,} {text}" for status, text in words.items()))
    if summary.num_others:
        click.echo(f"{summary.num_others:,} files that are no pictures were passed over")
    if done > counts.get("aligned", 0):
        click.echo(f"to look at: {summary.report}, {summary.sheet}")
