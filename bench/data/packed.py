"""The data set `packed`: what `bench data pack` made, an LFW-style test, validation people held out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bench.data.audit import audit_verdict
from bench.data.divide import Unreadable, divided, open_protocols
from bench.data.faces import Data, ImageSize
from bench.data.location import given_path
from bench.data.opened import open_packed
from bench.data.protocols import ProtocolOptions
from bench.data.split import Validation
from losses.types import NonNegativeInt, PositiveInt


def packed(
    cache: Path,
    *,
    root: str = "",
    size_px: ImageSize | None = None,
    seed: NonNegativeInt = 0,
    min_images_per_identity: PositiveInt = 2,
    unreadable: Unreadable = "error",
    validation: Validation = Validation(),  # noqa: B008  (frozen)
    protocol: ProtocolOptions | None = None,
    more_protocols: tuple[ProtocolOptions, ...] = (),
) -> Data:
    """Faces that 'bench data pack' has packed; validation people held out; LFW-style test pairs.

    Args:
        cache: folder that holds all prepared data.
        root: the pack; ${NAME} is the environment's.
        size_px: height and width; null: the pack's own (a parquet pack has none).
        seed: which people validate, and on which pairs; not the seed of a run.
        min_images_per_identity: people with fewer take no part.
        unreadable: what to do about images that could not be read when they were packed. error: say which;
            skip: go on without them, and count them in the record.
        validation: people who are taken out of training.
        protocol: the test; null: none.
        more_protocols: further tests.

    Raises:
        UserError: no pack there, a damaged one, missing images of a test, too few people.
    """
    path = given_path(root, "data.root")
    pack = open_packed(path, "data.root", size_px=size_px)
    data = divided(
        "packed",
        pack,
        seed=seed,
        min_images=min_images_per_identity,
        unreadable=unreadable,
        validation=validation,
        tests=open_protocols(cache, protocol, more_protocols, pack.images.shape[-1]),
        alignment=pack.manifest.alignment,
    )
    num_images = pack.manifest.num_images + len(pack.manifest.unreadable)
    return replace(data, audit=audit_verdict(path, num_images=num_images))
