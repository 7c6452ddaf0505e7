"""How fast images become batches, beside torchvision's ImageFolder. Asserts no time.

    tox -e speed -- tests/speed/test_data_speed.py --benchmark-timer=time.process_time

Every way gives the same work: batches of 128 images in random order, cut from 160 to 144 px at random,
mirrored at random, as float32 in [-1, 1], (B, 3, 144, 144), in the training process. 2,048 JPEGs of soft
noise in the page cache; one thread. CPU time, where other work is on the machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from bench.data.batches import Indices, Random
from bench.data.faces import Images
from bench.data.opened import open_packed
from bench.data.packing import pack_images
from bench.images import decode_image

COUNT, SIZE, CROP, BATCH = 2048, 160, 144, 128
INDEX = 10_000_000


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


def augmented(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Crop and mirror a batch: every image its own crop, mirrored ones together."""
    count = len(pixels)
    top, left = (torch.randint(SIZE - CROP + 1, (count,), generator=generator).tolist() for _ in range(2))
    cut = torch.empty(count, 3, CROP, CROP, dtype=torch.uint8)
    for row, (y, x) in enumerate(zip(top, left, strict=True)):
        cut[row] = pixels[row, :, y : y + CROP, x : x + CROP]
    mirrored = torch.nonzero(torch.rand(count, generator=generator) < 0.5)[:, 0]
    cut[mirrored] = cut[mirrored].flip(-1)
    return cut.float().sub_(127.5).mul_(1 / 127.5)


def no_embed(indices: Indices) -> Tensor:
    raise AssertionError("not asked for")


def epoch(images: Images) -> Iterator[Tensor]:
    source = Random(np.zeros(COUNT, np.int64), 0, size=BATCH)
    generator = torch.Generator().manual_seed(0)
    for _ in range(COUNT // BATCH):
        yield augmented(torch.from_numpy(images[source.next(no_embed).indices]), generator)


def consume(batches: Any) -> int:
    return sum(len(batch) for batch in batches)


@pytest.mark.benchmark(group=f"an epoch of {COUNT:,} images, 160 px, crop 144, flip, float32")
@pytest.mark.parametrize("way", ["packed pixels", "packed parquet", "ImageFolder + PIL + DataLoader"])
def test_an_epoch(benchmark: Any, faces: Path, tmp_path: Path, way: str) -> None:
    if way.startswith("packed"):
        form: Any = way.removeprefix("packed ")
        pack_images(faces, tmp_path / "pack", form, SIZE)
        images = open_packed(tmp_path / "pack", "data.root", size_px=SIZE).images
        count = benchmark(lambda: consume(epoch(images)))
    else:
        count = benchmark(lambda: consume(batch for batch, _ in torchvision_loader(faces)))
    benchmark.extra_info["images"] = COUNT
    assert count == COUNT


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


@pytest.mark.benchmark(group="decode 512 images of 160 px to uint8 (3, 160, 160)")
@pytest.mark.parametrize("way", ["ours", "PIL + numpy"])
def test_decoding(benchmark: Any, faces: Path, way: str) -> None:
    contents = [path.read_bytes() for path in sorted(faces.rglob("*.jpg"))[:512]]
    if way == "ours":
        decode: Any = lambda content: decode_image(content, SIZE)  # noqa: E731
    else:
        decode = pillow
    images = benchmark(lambda: [decode(content) for content in contents])
    assert len(images) == 512


def pillow(content: bytes) -> Any:
    import io

    with Image.open(io.BytesIO(content)) as image:
        return np.ascontiguousarray(np.asarray(image.convert("RGB")).transpose(2, 0, 1))


@pytest.mark.benchmark(group=f"open a pack of {INDEX:,} images and draw a batch")
def test_opening_ten_million_images(benchmark: Any, tmp_path: Path) -> None:
    """Of a real pack's form; the images are a hole in the file, so that it takes no disk."""
    small = tmp_path / "faces" / "person"
    small.mkdir(parents=True)
    Image.new("RGB", (16, 16), "grey").save(small / "a.png")
    pack_images(tmp_path / "faces", tmp_path / "pack", "pixels", 16)
    grow(tmp_path / "pack", INDEX)

    def open_and_draw() -> int:
        pack = open_packed(tmp_path / "pack", "data.root", size_px=None)
        rows = np.random.default_rng(0).integers(0, INDEX, BATCH)
        return len(pack.images[rows]) + len(pack.labels)

    assert benchmark.pedantic(open_and_draw, rounds=5) == BATCH + INDEX


def grow(pack: Path, count: int) -> None:
    """Make a pack of one image claim `count` images of 100,000 people."""
    import json

    from bench.data.cache import MANIFEST, file_fingerprint

    with (pack / "images.npy").open("wb") as stream:
        header = {"descr": "|u1", "fortran_order": False, "shape": (count, 3, 16, 16)}
        np.lib.format.write_array_header_1_0(stream, header)
        stream.truncate(stream.tell() + count * 3 * 16 * 16)
    np.save(pack / "labels.npy", np.arange(count) // (count // 100_000))
    (pack / "identities.json").write_text(json.dumps([f"{person:07d}" for person in range(100_000)]))
    manifest = json.loads((pack / MANIFEST).read_text())
    names = ("images.npy", "labels.npy", "identities.json", "names.json")
    manifest["files"] = {name: file_fingerprint(pack / name) for name in names}
    manifest |= {"num_images": count, "num_identities": 100_000}
    (pack / MANIFEST).write_text(json.dumps(manifest))
