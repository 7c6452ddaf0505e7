"""One tiny run, trained once, and a small protocol of image files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench import load_config, run
from bench.engine import run_path

from ..conftest import TINY


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory: pytest.TempPathFactory, session_cache: Path) -> Path:
    """Folder of a finished run of tiny.yaml. Read it, never write to it."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "tiny.yaml").write_text(TINY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_CACHE", str(session_cache))
        config = load_config(folder / "tiny.yaml", [f"runtime.runs={folder / 'runs'}"])
        run(config, track=False)
    return run_path(config)


@dataclass(frozen=True)
class Small:
    """Six people of three images in two folds."""

    pairs: Path
    images: Path
    names: tuple[str, ...]


@pytest.fixture
def small(workspace: Path) -> Small:
    """pairs.txt and a folder of noise that it names: what the pictures show does not matter here."""
    people = [f"Person_{letter}" for letter in "ABCDEF"]
    lines = ["2\t3"]
    for fold in (people[:3], people[3:]):
        lines += [f"{name}\t1\t2" for name in fold]
        lines += [f"{one}\t1\t{other}\t3" for one, other in zip(fold, [*fold[1:], fold[0]], strict=True)]
    (workspace / "pairs.txt").write_text("\n".join(lines) + "\n")
    random, names = np.random.default_rng(0), []
    for name in people:
        (workspace / "faces" / name).mkdir(parents=True)
        for number in (1, 2, 3):
            names.append(f"{name}/{name}_{number:04d}")
            pixels = random.integers(0, 256, (48, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(workspace / "faces" / f"{names[-1]}.png")
    return Small(workspace / "pairs.txt", workspace / "faces", tuple(names))


def save_embeddings(path: Path, names: tuple[str, ...], *, dimension: int = 8, seed: int = 0) -> np.ndarray:
    """An .npz of random embeddings in which images of a person are somewhat alike."""
    random = np.random.default_rng(seed)
    people = {name.split("/")[0]: random.standard_normal(dimension) for name in names}
    rows = np.array([people[name.split("/")[0]] + random.standard_normal(dimension) for name in names])
    np.savez(path, names=np.array([f"{name}.jpg" for name in names]), embeddings=rows)
    return rows
