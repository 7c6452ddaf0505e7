"""`bench data`."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.completion import complete_arguments


@click.group()
def data() -> None:
    """Look at data sets."""


@data.command()
@click.argument(
    "arguments", nargs=-1, required=True, metavar="CONFIG [key=value ...]", shell_complete=complete_arguments
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=None,
    help="PNG to write [default: runs/preview-DATA.png].",
)
@click.option("--people", type=click.IntRange(1, 50), default=8, show_default=True, help="Rows.")
@click.option("--images", type=click.IntRange(1, 50), default=8, show_default=True, help="Pictures of each.")
def preview(arguments: tuple[str, ...], out: Path | None, people: int, images: int) -> None:
    """Write a contact sheet of the training faces of CONFIG: one person a row."""
    from bench.cli.arguments import split_arguments
    from bench.cli.board import open_board
    from bench.config import load_config
    from bench.data import DATASETS, cache_folder
    from bench.data.contact_sheet import first_faces, save_contact_sheet
    from bench.errors import UserError

    sources, overrides = split_arguments(arguments)
    if len(sources) > 1:
        raise UserError(f"one configuration at a time, got {', '.join(sources)}")
    config = load_config(sources[0], overrides)
    with open_board():
        faces = DATASETS.build(config.data.name, {"cache": cache_folder()}, config.data.options).train
    path = out or Path(config.runtime.runs) / f"preview-{config.data.name}.png"
    save_contact_sheet(path, first_faces(faces, rows=people, columns=images))
    click.echo(f"{path}: {min(people, faces.num_identities)} people, {images} pictures of each")
