"""Draws faces: parameters in, pictures out, in chunks small enough for the processor's cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.data.rendered import camera, face, hair, scene
from bench.data.rendered.geometry import Parameters, View, crop, inside, look, paint, present
from bench.data.rendered.identity import draw_identities
from bench.data.rendered.nuisance import draw_nuisance
from bench.data.rendered.streams import Purpose, Split, Values, stream

# Some twenty planes of a chunk are alive at once: 28,000 pixels x 4 bytes x 20 = 2.2 MB, about one core's L2.
# Below 32,768 elements torch also runs an operation on the calling thread, so threads over chunks do not
# compete with threads inside an operation (at::internal::GRAIN_SIZE).
CHUNK_PIXELS = 28_672
TORCH_GRAIN = 32_768


def render(
    seed: int,
    split: Split,
    people: Sequence[int] | NDArray[np.int64],
    images: Sequence[int] | NDArray[np.int64],
    *,
    size_px: int,
    difficulty: float = 1.0,
    spread: float = 1.0,
    out: NDArray[np.uint8] | None = None,
    threads: int | None = None,
    chunk_pixels: int = CHUNK_PIXELS,
    progress: Callable[[int], None] | None = None,
) -> NDArray[np.uint8]:
    """Picture `images[i]` of person `people[i]`, for every i.

    The bytes depend on seed, split, person, image, size, difficulty and spread alone: not on threads, not on
    chunks, not on what else is drawn.

    Args:
        seed: `data.seed`.
        split: the population.
        people: person of each picture.
        images: number of each picture among those of its person.
        size_px: height and width.
        difficulty: strength of the nuisance.
        spread: how far people are from the average person.
        out: where to draw, (N, 3, size_px, size_px) uint8; a new array by default.
        threads: chunks drawn at once; by default as many as torch uses, or one where a chunk is so large that
            torch divides every operation itself.
        chunk_pixels: upper bound of pixels drawn together.
        progress: called with the number of pictures finished so far.

    Returns:
        (N, 3, size_px, size_px) uint8 RGB.
    """
    people, images = np.asarray(people, np.int64), np.asarray(images, np.int64)
    total = len(people)
    pictures = np.empty((total, 3, size_px, size_px), np.uint8) if out is None else out
    step = max(1, chunk_pixels // size_px**2)
    starts = range(0, total, step)

    distinct, back = np.unique(people, return_inverse=True)
    identity = draw_identities(seed, split, distinct, spread=spread)
    parameters = {name: values[back] for name, values in identity.items()}
    parameters |= draw_nuisance(seed, split, people, images, strength=difficulty)

    def draw(start: int) -> int:
        rows = slice(start, min(start + step, total))
        streams = [
            stream(seed, split, Purpose.NOISE, int(person), int(image))
            for person, image in zip(people[rows], images[rows], strict=True)
        ]
        pictures[rows] = _draw_chunk(
            {name: values[rows] for name, values in parameters.items()}, streams, size_px
        )
        return rows.stop - rows.start

    done = 0
    if threads is None:
        threads = 1 if step * size_px**2 >= TORCH_GRAIN else torch.get_num_threads()
    with ThreadPoolExecutor(threads) as pool:
        for count in pool.map(draw, starts):
            done += count
            if progress is not None:
                progress(done)
    return pictures


@torch.inference_mode()
def _draw_chunk(
    values: dict[str, Values], streams: Sequence[np.random.Generator], size: int
) -> NDArray[np.uint8]:
    """One chunk of faces, back to front."""
    p: Parameters = {
        name: torch.from_numpy(value.astype(np.float32)).view(-1, 1, 1) for name, value in values.items()
    }
    texture = torch.from_numpy(
        np.stack([g.random((3, scene.WALL_GRID, scene.WALL_GRID), np.float32) for g in streams])
    )
    noise = torch.from_numpy(np.stack([_bell_noise(g, size) for g in streams]))

    view = look(p, size)
    picture = scene.wall(p, texture * 2.0 - 1.0, size)
    hair_colour = hair.shaded(p, view)
    behind = hair.back(p, view)
    if present(behind):
        red, green, blue = (value * 0.62 for value in hair_colour)
        paint(picture, behind, (red, green, blue))
    scene.body(p, view, picture)
    scene.ears(p, view, picture)

    on_top = hair.front(p, view)
    head, place = crop(view)
    _draw_head(p, head, [channel[:, place[0], place[1]] for channel in picture])
    paint(picture, on_top, (hair_colour[0], hair_colour[1], hair_colour[2]))
    if present(p["glasses"]):
        scene.glasses(p, head, [channel[:, place[0], place[1]] for channel in picture])
    scene.occluder(p, view, picture)
    return camera.develop(p, picture, noise).numpy()


def _draw_head(p: Parameters, view: View, picture: list[Tensor]) -> None:
    """The face on the part of the picture that holds heads."""
    nose, mouth = face.nose_lines(p, view), face.mouth_lines(p, view)
    shade, shine = face.light(p, view, face.relief(p, view, nose, mouth))
    skin = face.skin(p, view, nose, mouth)
    face.eyes(p, view, skin)
    face.nostrils(p, nose, skin)
    face.lips(p, view, mouth, skin)
    face.facial_hair(p, view, mouth, skin)
    face.brows(p, view, skin)
    red, green, blue = (channel.mul_(shade).add_(shine) for channel in skin)
    paint(picture, inside(view.outside, view.px), (red, green, blue))


def _bell_noise(generator: np.random.Generator, size: int) -> NDArray[np.float32]:
    """Sensor noise of unit variance: the sum of two random bytes, (3, size, size)."""
    raw = np.frombuffer(generator.bytes(3 * size * size * 2), np.uint8).reshape(2, 3, size, size)
    total = np.add(raw[0], raw[1], dtype=np.float32)
    # Mean 2 x 127.5; variance 2 x (256^2 - 1) / 12.
    noise: NDArray[np.float32] = (total - np.float32(255.0)) * np.float32(1.0 / 104.5)
    return noise
