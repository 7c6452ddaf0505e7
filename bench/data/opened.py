"""What `bench data pack` made: opened in a moment however large it is, and checked to the last byte."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bench.data.cache import MANIFEST, read_made
from bench.data.encoded import file_digest, open_encoded, part_name
from bench.data.pack import (
    CHECKED_BLOCK,
    IMAGES,
    PACK_VERSION,
    Pack,
    PackManifest,
    block_digests,
    labels_digest,
    open_pack,
)
from bench.errors import UserError


def is_pack(path: Path) -> bool:
    """Whether a folder says of itself that it is one."""
    return (path / MANIFEST).is_file()


def open_packed(path: Path, option: str, *, size_px: int | None) -> Pack:
    """Open a pack at a size.

    Args:
        path: the folder.
        option: the setting that named it, for messages.
        size_px: height and width; None: the pack's own.

    Raises:
        UserError: no pack, damaged where a quick look sees it, or it cannot give that size.
    """
    manifest = read_manifest(path, option)
    if manifest.size_px is None:
        if size_px is None:
            raise UserError(f"data.size_px: {path} holds encoded images, of no size; set data.size_px=N")
        return open_encoded(path, manifest, size_px)
    if size_px not in (None, manifest.size_px):
        raise UserError(
            f"data.size_px: {path} holds images of {manifest.size_px} px, not {size_px}; "
            "pack them anew, or as parquet, which can be read at any size"
        )
    return open_pack(path, manifest)


def read_manifest(path: Path, option: str) -> PackManifest:
    """What a pack says of itself.

    Args:
        path: the folder.
        option: the setting that named it, for messages; empty for none.

    Raises:
        UserError: no pack, or damaged where a quick look sees it.
    """
    prefix = f"{option}: " if option else ""
    try:
        manifest = PackManifest.from_json(read_made(path))
    except UserError as error:
        raise UserError(f"{prefix}{error}") from error
    except ValueError:
        manifest = None
    if manifest is None or manifest.version != PACK_VERSION:
        raise UserError(f"{prefix}{path}: {MANIFEST} is of another version; pack it anew")
    return manifest


def corrupt_parts(path: Path, manifest: PackManifest) -> Iterator[str]:
    """Read every byte; what does not match its checksum, in words that name it."""
    pack = open_pack(path, manifest) if manifest.size_px else open_encoded(path, manifest, 16)
    if labels_digest(pack.labels) != manifest.labels:
        yield "labels.npy does not match its checksum"
        return
    if manifest.size_px is None:
        for part, expected in enumerate(manifest.blocks):
            if file_digest(path / part_name(part)) != expected:
                yield f"{part_name(part)} does not match its checksum"
        return
    for (start, found), expected in zip(block_digests(pack.images), manifest.blocks, strict=True):
        if found != expected:
            stop = min(start + CHECKED_BLOCK, len(pack.labels)) - 1
            first, last = (pack.identities[pack.labels[row]] for row in (start, stop))
            yield f"{IMAGES}: images {start:,} to {stop:,} ({first} to {last}) do not match their checksum"
