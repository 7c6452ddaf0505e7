"""The data set `folder`: people in a folder or tar, some of them held out to validate, LFW-style tests."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from bench.data.align.settings import read_alignment
from bench.data.audit import audit_verdict
from bench.data.divide import Unreadable, divided, open_protocols
from bench.data.faces import Data, ImageSize
from bench.data.location import given_path
from bench.data.opened import is_pack
from bench.data.prepared import prepared
from bench.data.protocols import ProtocolOptions
from bench.data.split import Validation, check_people
from bench.errors import UserError
from losses.types import NonNegativeInt, PositiveInt


def folder(
    cache: Path,
    *,
    root: str = "",
    size_px: ImageSize = 112,
    seed: NonNegativeInt = 0,
    min_images_per_identity: PositiveInt = 2,
    unreadable: Unreadable = "error",
    validation: Validation = Validation(),  # noqa: B008  (frozen)
    protocol: ProtocolOptions | None = None,
    more_protocols: tuple[ProtocolOptions, ...] = (),
) -> Data:
    """Faces in a folder or tar, one folder an identity; validation people held out; LFW-style test pairs.

    Args:
        cache: folder that holds all prepared data.
        root: folder or tar of IDENTITY/image.jpg, or insightface's train.rec or its folder; ${NAME} is the
            environment's.
        size_px: height and width that images are resized to, once.
        seed: which people validate, and on which pairs; not the seed of a run.
        min_images_per_identity: people with fewer take no part.
        unreadable: what to do about training images that cannot be read. error: say which; skip: leave them
            out, and count them in the record.
        validation: people who are taken out of training.
        protocol: the test; null: none.
        more_protocols: further tests.

    Raises:
        UserError: a path that is not there, unreadable or missing images, too few people, no space.
    """
    path = given_path(root, "data.root")
    if is_pack(path):
        raise UserError(f"data.root: {path} is a pack; set data.name=packed")
    tests = open_protocols(cache, protocol, more_protocols, size_px)
    pack = prepared(
        cache,
        path,
        size_px,
        "data.root",
        check=partial(check_people, min_images=min_images_per_identity, validation=validation),
    )
    aligned = read_alignment(path)
    data = divided(
        "folder",
        pack,
        seed=seed,
        min_images=min_images_per_identity,
        unreadable=unreadable,
        validation=validation,
        tests=tests,
        alignment=aligned.alignment if aligned is not None else None,
    )
    num_images = pack.manifest.num_images + len(pack.manifest.unreadable)
    return replace(data, audit=audit_verdict(path, num_images=num_images))
