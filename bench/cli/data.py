"""`bench data`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from bench.cli.audit import audit
from bench.cli.completion import complete_arguments

if TYPE_CHECKING:
    from bench.data.pack import PackManifest


@click.group()
def data() -> None:
    """Fetch, pack, check and look at data sets."""


data.add_command(audit)


@data.command(short_help="Write a contact sheet of the training faces of CONFIG.")
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
    click.echo(f"{path}: {min(people, faces.num_identities)} people, up to {images} pictures of each")


@data.command(short_help="Pack SOURCE for training into the new folder TARGET.")
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
@click.option(
    "--size", type=click.IntRange(16, 1024), default=112, show_default=True, help="Height and width, px."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["pixels", "parquet"]),
    default="pixels",
    show_default=True,
    help="pixels: decoded, fastest. parquet: the image files as they are, for sets that do not fit; no size.",
)
def pack(source: Path, target: Path, size: int, form: Literal["pixels", "parquet"]) -> None:
    """Pack SOURCE for training into the new folder TARGET.

    SOURCE is a folder or tar of IDENTITY/image.jpg, or insightface's train.rec or the folder of it.

    \b
    bench data pack casia/ casia_112 --size 112
    then, in a configuration:
    data: {name: packed, root: casia_112}
    """
    from bench.cli.board import open_board
    from bench.data.packing import pack_images

    with open_board():
        manifest = pack_images(source, target, form, size)
    click.echo(f"{target}: {_contents(manifest)}")
    for entry in manifest.unreadable[:10]:
        click.echo(f"  left out: {entry.name} {entry.reason}")
    if len(manifest.unreadable) > 10:
        click.echo(f"  all {len(manifest.unreadable):,} are listed in {target / 'meta.json'}")


@data.command(short_help="Download LFW's images and pairs.")
@click.argument("name", type=click.Choice(["lfw"]))
@click.option(
    "--to",
    "folder",
    type=click.Path(path_type=Path),
    default=None,
    help="Folder for the images and pairs.txt [default: lfw in the cache].",
)
@click.option(
    "--funneled", is_flag=True, help="The images that were aligned by funneling, not the originals."
)
def fetch(name: str, folder: Path | None, funneled: bool) -> None:
    """Download a test set from the mirror that scikit-learn maintains; interrupted, it goes on next time."""
    from bench.cli.board import open_board
    from bench.data.fetch import fetch_lfw
    from bench.location import cache_folder

    with open_board():
        tar, pairs = fetch_lfw(folder or cache_folder() / name, funneled=funneled)
    click.echo(f"{tar}: LFW's images")
    click.echo(f"{pairs}: its 6,000 pairs")
    click.echo(f"in a configuration: data: {{..., protocol: {{name: lfw, root: {tar}}}}}")


@data.command("list", short_help="List the field's data sets: size, terms, source.")
def list_() -> None:
    """Say of the field's data sets how large they are, on what terms, whom to ask, what prepares them."""
    from bench.data.known import KNOWN_SETS

    for known in KNOWN_SETS:
        click.echo(f"{known.name} ({known.use})")
        for field in ("size", "terms", "source", "prepare"):
            click.echo(f"  {field:<8} {getattr(known, field)}")


@data.command(short_help="Read a pack to its last byte; name what is corrupt.")
@click.argument("target", type=click.Path(path_type=Path))
def verify(target: Path) -> None:
    """Read the pack TARGET to its last byte, and name what does not match its checksums."""
    from bench.data.packing import verify_pack

    click.echo(f"{target}: whole; {_contents(verify_pack(target))}")


def _contents(manifest: PackManifest) -> str:
    size = f"at {manifest.size_px} px" if manifest.size_px else "as they were"
    lost = f"; {len(manifest.unreadable):,} could not be read" if manifest.unreadable else ""
    return (
        f"{manifest.num_images:,} images of {manifest.num_identities:,} people {size}, "
        f"checksum {manifest.checksum[:12]}{lost}"
    )
