"""Run folders made by hand: pairs whose difficulty is chosen, so that what a report must say is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.results import (
    Budget,
    Code,
    Environment,
    MetricsLine,
    MetricsWriter,
    ProtocolRecord,
    RunFolder,
    RunRecord,
    State,
    Timing,
    new_state,
)
from bench.verification import verify

Make = Callable[..., Path]


def config_of(name: str, **changes: Any) -> dict[str, Any]:
    """A resolved configuration, as records hold it."""
    return {
        "name": name,
        "description": "",
        "seed": 0,
        "plugins": [],
        "data": {"name": "rendered", "seed": 0},
        "backbone": {"name": "small", "embedding_dim": 128},
        "loss": {"name": name},
        "batch": {"name": "random", "size": 128},
        "optimizer": {"name": "adamw", "learning_rate": 0.002},
        "schedule": {"name": "cosine"},
        "augment": {"flip": True},
        "train": {"epochs": 6.0},
        "evaluate": {"metric": "sqeuclidean", "flip": "none", "subtract_mean": False},
        "runtime": {"runs": "/home/somebody/runs"},
        "tracking": {"uri": "http://server"},
        **changes,
    }


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Writes runs below the test's own folder."""
    return maker(tmp_path)


def maker(tmp_path: Path) -> Make:
    """A function that writes a run folder and gives the folder of all of them.

    `gap` is how far genuine and impostor distances lie apart; the noise of a pair is the same for all runs,
    so that runs with one gap and one seed agree pair by pair.
    """

    def run(
        name: str = "softmax",
        seed: int = 0,
        *,
        gap: float = 1.0,
        state: State = "FINISHED",
        error: str | None = None,
        pairs_seed: int = 0,
        data_checksum: str = "da" * 32,
        config_hash: str | None = None,
        config: dict[str, Any] | None = None,
        protocol: str = "rendered",
        commit: str = "c0" * 20,
        metrics: dict[str, float] | None = None,
    ) -> Path:
        draw = np.random.default_rng(100 + seed)
        pair_draw = np.random.default_rng(pairs_seed)
        num = 600
        same, fold = np.arange(num) % 2 == 0, np.arange(num) // 2 % 10
        sides = pair_draw.integers(0, 1000, (num, 2))
        noise = pair_draw.normal(0, 0.3, num) + draw.normal(0, 0.05, num)
        distances = np.clip(1.5 + np.where(same, -gap / 2, gap / 2) + noise, 0, 3.9)
        found = verify(distances, same, fold, fars=(1e-2,))
        config_hash = config_hash or name.encode().hex().ljust(64, "0")[:64]
        folder = RunFolder(tmp_path / "runs" / f"{name}-{config_hash[:8]}-{data_checksum[:4]}-s{seed}")
        folder.path.mkdir(parents=True)
        writer = MetricsWriter(folder.metrics)
        for step in (100, 200, 300):
            validation = {"validation/accuracy": 0.8 + step / 3000, "validation/val_at_far_1e-2": step / 400}
            writer.append(MetricsLine(step, 1_790_000_000_000 + step, {**validation, **(metrics or {})}))
        writer.close()
        np.savez_compressed(
            folder.pairs,
            **{
                f"{protocol}/distances": distances,
                f"{protocol}/same": same,
                f"{protocol}/fold": fold,
                f"{protocol}/left": sides[:, 0],
                f"{protocol}/right": sides[:, 1],
            },
        )
        figures = ProtocolRecord(
            metrics=dict(found.metrics),
            reasons=dict(found.reasons),
            warnings=dict(found.warnings),
            fold_accuracy=found.fold_accuracy,
            fold_threshold=found.fold_threshold,
            val_facenet={far: dict(values) for far, values in found.val_facenet.items()},
            val_exact={far: dict(values) for far, values in found.val_exact.items()},
            num_genuine=found.num_genuine,
            num_impostor=found.num_impostor,
            metric="sqeuclidean",
            flip="none",
            subtract_mean=False,
        )
        record = RunRecord(
            name=name,
            config_hash=config_hash,
            seed=seed,
            data_name="rendered",
            data_checksum=data_checksum,
            state=state,
            error=error,
            started_at="2026-11-01T10:00:00+00:00",
            ended_at="2026-11-01T10:05:00+00:00",
            config=config or config_of(name),
            num_parameters=1000,
            budget=Budget(images=38_400, images_forward_only=0, steps=300, epochs=6.0),
            timing=Timing(wall_s=60.0 + seed, parts_s={}, images_per_s=640.0),
            environment=Environment(
                python="3.11",
                platform="Linux",
                cpu="cpu",
                device="cpu",
                device_name="cpu",
                threads=2,
                processes=1,
                packages={"torch": "2.14"},
            ),
            code=Code(version="0.1.0", git_commit=commit, git_dirty=False),
            protocols={protocol: figures} if state == "FINISHED" else {},
        )
        folder.write_record(record)
        folder.write_state(
            new_state(name, config_hash, seed).model_copy(update={"state": state, "error": error})
        )
        return tmp_path / "runs"

    return run
