"""`bench export`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from bench.cli.runs import find_run

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("run", type=_PATH, callback=find_run)
@click.option(
    "--format",
    "kind",
    type=click.Choice(("torch", "onnx")),
    default="torch",
    show_default=True,
    help="torch.export's archive, or ONNX (needs 'faceloss-bench[onnx]').",
)
@click.option("--out", type=_PATH, help="File to write [default: RUN/model.pt2 or RUN/model.onnx].")
def export(run: Path, kind: Literal["torch", "onnx"], out: Path | None) -> None:
    """Write a trained model with its preprocessing inside.

    RUN is the folder of a run, its name in ./runs, its MLflow id, or one checkpoint. The model takes uint8
    pixels (B, 3, H, W) RGB and gives L2-normalised embeddings; any batch size. It is read back and must
    embed like the run's own.

    \b
    bench export runs/center-0a1b2c3d-s0 --format onnx --out center.onnx
    """
    import torch

    from bench.export import export as export_model
    from bench.trained import load_trained

    trained = load_trained(run, torch.device("cpu"))
    folder = run if run.is_dir() else run.parent
    exported = export_model(
        trained, out or folder / ("model.pt2" if kind == "torch" else "model.onnx"), kind=kind
    )
    size = exported.size_px
    click.echo(
        f"{exported.path}: pixels (B, 3, {size}, {size}) uint8 -> embeddings (B, {exported.embedding_dim}); "
        f"embeds alike, largest difference {exported.difference:.2g}"
    )
