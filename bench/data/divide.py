"""A pack and its protocols as a run uses them: who trains, who validates, what is tested, what is missing."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Literal

from bench.data.faces import Data, PairProtocol
from bench.data.pack import Pack
from bench.data.protocols import ProtocolOptions, open_protocol
from bench.data.split import Validation, split_people
from bench.errors import UserError
from bench.results import Alignment

logger = logging.getLogger("bench.data")

Unreadable = Literal["error", "skip"]
_SHOWN = 5  # so many of what cannot be read are named; the pack's meta.json lists all


def open_protocols(
    cache: Path, first: ProtocolOptions | None, more: tuple[ProtocolOptions, ...], size_px: int
) -> tuple[PairProtocol, ...]:
    """The tests of a configuration.

    Raises:
        UserError: as `open_protocol`, or two of one name.
    """
    places = [("data.protocol", first)] if first is not None else []
    places += [(f"data.more_protocols.{index}", options) for index, options in enumerate(more)]
    tests: dict[str, PairProtocol] = {}
    for option, options in places:
        if options.name in tests:
            raise UserError(f"{option}.name: there is a protocol {options.name!r} already; name it otherwise")
        tests[options.name] = open_protocol(cache, options, size_px, option)
    return tuple(tests.values())


def divided(
    name: str,
    pack: Pack,
    *,
    seed: int,
    min_images: int,
    unreadable: Unreadable,
    validation: Validation,
    tests: tuple[PairProtocol, ...],
    alignment: Alignment | None,
) -> Data:
    """A pack as a run uses it: people who train, people who validate, tests.

    The checksum covers what is trained, validated and tested on, not where it lies. `alignment` is that of
    the pack's faces; tests that were aligned otherwise are noted, for that costs accuracy.

    Raises:
        UserError: unreadable images, unless they may be skipped; too few people.
    """
    notes = (*_left_out(pack, unreadable), *_aligned_otherwise(alignment, tests))
    split = split_people(
        pack.images,
        pack.labels,
        pack.identities,
        seed=seed,
        min_images=min_images,
        validation=validation,
    )
    size_px = pack.images.shape[-1]
    digest = hashlib.sha256(f"{pack.manifest.checksum} {size_px}\n".encode())
    digest.update(split.rows.astype("<i8").tobytes())
    for protocol in (split.validation, *tests):
        digest.update(f"{protocol.name} {protocol.checksum}\n".encode())
    return Data(
        name=name,
        train=split.train,
        validation=split.validation,
        tests=tests,
        checksum=digest.hexdigest(),
        size_px=size_px,
        alignment=alignment,
        notes=notes,
    )


def _left_out(pack: Pack, unreadable: Unreadable) -> tuple[str, ...]:
    """What is to be said of images that could not be read."""
    lost = pack.manifest.unreadable
    if not lost:
        return ()
    total = pack.manifest.num_images + len(lost)
    shown = "; ".join(f"{entry.name} {entry.reason}" for entry in lost[:_SHOWN])
    more = f"; and {len(lost) - _SHOWN:,} more" if len(lost) > _SHOWN else ""
    what = f"{len(lost):,} of {total:,} images cannot be read"
    if unreadable == "error":
        raise UserError(
            f"data.root: {what}: {shown}{more}; repair or remove them, or set data.unreadable=skip "
            f"(all are listed in {pack.folder / 'meta.json'})"
        )
    logger.warning("data.root: %s and are left out: %s%s", what, shown, more)
    return (f"{what} and are left out",)


def _aligned_otherwise(alignment: Alignment | None, tests: tuple[PairProtocol, ...]) -> tuple[str, ...]:
    """What is to be said of tests whose faces are known to be cut out in another way."""
    notes = tuple(
        f"training faces are aligned by {alignment}, those of {test.name} by {test.alignment}"
        for test in tests
        if alignment is not None and test.alignment is not None and test.alignment != alignment
    )
    for note in notes:
        logger.warning("%s", note)
    return notes
