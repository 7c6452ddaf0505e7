"""`bench data pack` and `bench data verify`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

from bench.data.align.settings import read_alignment
from bench.data.cache import MANIFEST, made
from bench.data.encoded import write_encoded
from bench.data.opened import corrupt_parts, read_manifest
from bench.data.pack import PackManifest, pack_bytes, write_pack
from bench.data.prepared import list_images
from bench.errors import BenchError, UserError

Form = Literal["pixels", "parquet"]


def pack_images(
    source: Path, target: Path, form: Form, size_px: int, *, workers: int | None = None
) -> PackManifest:
    """Pack a source of images into a new folder.

    Args:
        source: folder or tar of IDENTITY/image.jpg, insightface's train.rec or its folder.
        target: the folder to make.
        form: pixels, decoded at a size; parquet, the files as they are.
        size_px: height and width of pixels.
        workers: processes; None takes the CPUs there are.

    Raises:
        UserError: no such source, target exists, no space; nothing is left half-written.
    """
    if not source.exists():
        raise UserError(f"{source}: does not exist")
    if target.exists():
        raise UserError(f"{target}: exists already; name another folder, or remove this one first")
    if (source / MANIFEST).is_file():
        raise UserError(f"{source}: is a pack already; name what it was made from")
    files = list_images(source, "pack")
    aligned = read_alignment(source)

    def build(folder: Path) -> dict[str, object]:
        if form == "parquet":
            manifest = write_encoded(folder, files, workers=workers)
        else:
            manifest = write_pack(folder, files, size_px, workers=workers)
        return replace(manifest, alignment=aligned.alignment if aligned else None).to_json()

    if form == "pixels":
        num_bytes = pack_bytes(len(files), size_px)
    else:
        num_bytes = files.blobs.num_bytes() + pack_bytes(len(files), 0)
    return PackManifest.from_json(made(target, {}, build, num_bytes=num_bytes))


def verify_pack(path: Path) -> PackManifest:
    """Read a pack to its last byte.

    Raises:
        UserError: no pack.
        BenchError: corrupt; names the parts, one a line.
    """
    manifest = read_manifest(path, "")
    corrupt = list(corrupt_parts(path, manifest))
    if corrupt:
        raise BenchError("\n".join(f"{path}: {problem}" for problem in corrupt))
    return manifest
