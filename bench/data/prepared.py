"""Folders and archives of images as packs in the cache: decoded at the first use, mapped at every other."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.data.cache import cached, whole
from bench.data.pack import PACK_VERSION, Pack, PackManifest, open_pack, pack_bytes, write_pack
from bench.images import ImageFiles, is_records, list_folder, list_records, list_tar, read_bin
from bench.images.archives import file_fingerprint
from bench.images.folders import folder_fingerprint

logger = logging.getLogger("bench.data")

Choose = Callable[[ImageFiles], NDArray[np.int64]]
Check = Callable[[NDArray[np.int64]], None]


def list_images(path: Path, option: str) -> ImageFiles:
    """The images of a folder, a tar, or insightface's train.rec or .bin.

    Raises:
        UserError: none of these, unreadable, or no identities to be seen.
    """
    if is_records(path):
        return list_records(path, option)
    if path.suffix == ".bin":
        return read_bin(path, option).files
    files = list_folder(path, option) if path.is_dir() else list_tar(path, option)
    if files.num_ignored:
        logger.info("%s: %s files are no images by their names", path, f"{files.num_ignored:,}")
    return files


def prepared(
    cache: Path,
    path: Path,
    size_px: int,
    option: str,
    *,
    choose: Choose | None = None,
    chosen: str = "",
    check: Check | None = None,
) -> Pack:
    """The pack of a folder or tar, made now if it is not there or its source has changed.

    Args:
        cache: folder that holds all prepared data.
        path: of the source.
        size_px: height and width.
        option: the setting that named the source, for messages.
        choose: rows of those files that are wanted, where not all are.
        chosen: tells choices apart.
        check: looks at the labels before anything is packed, and may raise.

    Raises:
        UserError: as `list_images`, `choose` and `check`; nothing could be read; no space for the cache.
    """
    place = {"source": str(path.resolve()), "size_px": size_px, "chosen": chosen}
    key = hashlib.sha256(json.dumps(place, sort_keys=True).encode()).hexdigest()[:16]
    folder = cache / "packed" / f"{path.name}-{size_px}px-{key}"
    source = folder_fingerprint(path, option) if path.is_dir() else file_fingerprint(path)
    parameters: dict[str, Any] = {"pack_version": PACK_VERSION, "fingerprint": source, **place}
    manifest = whole(folder, parameters)
    if manifest is None:
        files = list_images(path, option)
        if choose is not None:
            files = files.take(choose(files))
        if check is not None:
            check(files.labels)
        manifest = cached(
            folder,
            parameters,
            lambda temporary: write_pack(temporary, files, size_px).to_json(),
            num_bytes=pack_bytes(len(files), size_px),
        )
    return open_pack(folder, PackManifest.from_json(manifest))
