"""How fast images become batches, beside torchvision's ImageFolder. Asserts no time.

Every way gives the same work: batches of 128 images in random order, cut from 160 to 144 px at random,
mirrored at random, as float32 around zero, (B, 3, 144, 144), in the training process; ours by what a run
calls for each step. 2,048 JPEGs of soft noise in the page cache; one thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from bench.ahead import Ahead, Ready
from bench.data import Augment, Batch, Preprocess
from bench.data.batches import Indices, Random
from bench.data.faces import Images
from bench.data.opened import open_packed
from bench.data.packing import pack_images
from bench.embed import backbone_input
from bench.images import decode_image

from .conftest import Race

COUNT, SIZE, CROP, BATCH = 2048, 160, 144, 128


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """64 people x 32 images of 160 px."""
    root = tmp_path_factory.mktemp("speed") / "faces"
    generator = np.random.default_rng(0)
    for number in range(COUNT):
        coarse = generator.integers(0, 256, (20, 20, 3)).astype(np.uint8)
        image = Image.fromarray(coarse).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
        folder = root / f"person_{number % 64:02d}"
        folder.mkdir(parents=True, exist_ok=True)
        image.save(folder / f"{number:05d}.jpg", quality=92)
    return root


def no_embed(indices: Indices) -> Tensor:
    raise AssertionError("not asked for")


def epochs(images: Images) -> Iterator[Tensor]:
    """One after the other without end, as in a run."""
    source = Random(np.zeros(COUNT, np.int64), 0, size=BATCH)
    augment, preprocess = Augment(0, crop_px=CROP), Preprocess("fixed", CROP)

    def prepare(batch: Batch, place: Tensor | None) -> Ready:
        pixels = augment(torch.from_numpy(images[batch.indices]), batch.number, BATCH)
        return Ready(batch, backbone_input(pixels, preprocess, place), torch.from_numpy(batch.indices))

    with Ahead(source, prepare, beside=False) as batches:
        while True:
            yield batches.take(no_embed, more=True).images


def consume(batches: Any) -> tuple[int, tuple[int, ...], torch.dtype]:
    """Images, the shape of the last and its type."""
    count = 0
    for batch in batches:
        count += len(batch)
    return count, tuple(batch.shape[1:]), batch.dtype


@pytest.mark.parametrize("form", ["pixels", "parquet"])
def test_an_epoch(race: Race, faces: Path, tmp_path: Path, form: Any) -> None:
    pack_images(faces, tmp_path / "pack", form, SIZE, workers=1)
    ours = epochs(open_packed(tmp_path / "pack", "data.root", size_px=SIZE).images)
    usual = torchvision_loader(faces)

    def equal(mine: object, other: object) -> None:
        assert mine == other == (COUNT, (3, CROP, CROP), torch.float32)

    race(
        "Data: an epoch of 2,048 images of 160 px in batches of 128, cut, mirrored, float32",
        f"packed {form}",
        ours=lambda: consume(islice(ours, COUNT // BATCH)),
        peers={"ImageFolder + PIL + DataLoader": lambda: consume(batch for batch, _ in usual)},
        limit=("copying as many float32 pixels", copying),
        same=equal,
    )


def copying() -> None:
    """What the batches weigh, written once from bytes."""
    pixels = torch.zeros(BATCH, 3, CROP, CROP, dtype=torch.uint8)
    for _ in range(COUNT // BATCH):
        pixels.float()


def torchvision_loader(faces: Path) -> Any:
    """The usual way, in this process; workers would multiply all ways alike."""
    from torch.utils.data import DataLoader
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    steps = transforms.Compose(
        [
            transforms.RandomCrop(CROP),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize([0.5] * 3, [0.5] * 3),
        ]
    )
    return DataLoader(ImageFolder(str(faces), steps), BATCH, shuffle=True)


def test_decoding(race: Race, faces: Path) -> None:
    contents = [path.read_bytes() for path in sorted(faces.rglob("*.jpg"))[:512]]

    def equal(mine: list[Any], other: list[Any]) -> None:
        assert all(np.array_equal(one, another) for one, another in zip(mine, other, strict=True))

    race(
        "Data: decoding",
        "512 JPEGs of 160 px to uint8 (3, 160, 160)",
        ours=lambda: [decode_image(content, SIZE) for content in contents],
        peers={"PIL + numpy": lambda: [pillow(content) for content in contents]},
        same=equal,
    )


def pillow(content: bytes) -> Any:
    import io

    with Image.open(io.BytesIO(content)) as image:
        return np.ascontiguousarray(np.asarray(image.convert("RGB")).transpose(2, 0, 1))


def grow(pack: Path, count: int) -> None:
    """Make a pack of one image claim `count` images, a hundred a person; they take no disk."""
    import json

    from bench.data.cache import MANIFEST, file_fingerprint

    with (pack / "images.npy").open("wb") as stream:
        header = {"descr": "|u1", "fortran_order": False, "shape": (count, 3, 16, 16)}
        np.lib.format.write_array_header_1_0(stream, header)
        stream.truncate(stream.tell() + count * 3 * 16 * 16)
    np.save(pack / "labels.npy", np.arange(count) // 100)
    (pack / "identities.json").write_text(json.dumps([f"{person:07d}" for person in range(count // 100)]))
    manifest = json.loads((pack / MANIFEST).read_text())
    names = ("images.npy", "labels.npy", "identities.json", "names.json")
    manifest["files"] = {name: file_fingerprint(pack / name) for name in names}
    manifest |= {"num_images": count, "num_identities": count // 100}
    (pack / MANIFEST).write_text(json.dumps(manifest))
