"""Memory of a long run: it must not grow. Asserts no number."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from .conftest import Race, Seconds, status_mib
from .watched import Watched

FIRST, LAST = 1_000, 10_000  # steps; what a run allocates once, it has by the first
CONFIG = """\
data: {{name: rendered, identities: 12, images_per_identity: 6, size_px: 16, test_pairs: 4,
       validation_pairs: 3}}
backbone: {{name: small, embedding_dim: 16, width: 4}}
loss: {{name: {loss}}}
batch: {batch}
optimizer: {{name: adamw, learning_rate: 1e-3}}
schedule: {{name: cosine}}
augment: {{shift_px: 1}}
train: {{epochs: 100000, max_steps: {last}, log_every: 100}}
evaluate: {{every_epochs: 500}}
runtime: {{device: cpu, runs: {folder}/runs, checkpoint_every_s: 5}}
tracking: {{uri: "sqlite:///{folder}/mlflow.db"}}
"""
BATCHES = {"center": "{name: random, size: 12}", "triplet": "{name: pk, people: 4, images: 3}"}


@pytest.mark.parametrize(("loss", "tracked"), [("center", True), ("center", False), ("triplet", True)])
@pytest.mark.timeout(1800)
def test_no_growth(
    race: Race, loss: str, tracked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`bench.run` with monitors, augmentation, validations, checkpoints and, as a rule, tracking."""
    from bench import load_config, run

    if not Path("/proc/self/status").exists():
        pytest.skip("needs /proc, which tells how much memory a process has")
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "long.yaml"
    file.write_text(CONFIG.format(loss=loss, batch=BATCHES[loss], folder=tmp_path, last=LAST))
    overrides = [f"runtime.threads={torch.get_num_threads()}", f"tracking.enabled={str(tracked).lower()}"]
    config = load_config(file, overrides)
    watched = Watched(lambda: status_mib("VmRSS"))

    def whole() -> Seconds:
        run(config, again=True, progress=watched)
        return Seconds(watched.wall_s[LAST] - watched.wall_s[FIRST])

    def columns() -> dict[str, float]:
        first, last = watched.seen[FIRST], watched.seen[LAST]
        return {
            f"after {FIRST:,} steps, MiB": first,
            f"after {LAST:,} steps, MiB": last,
            "growth, MiB": last - first,
            "most at a logged step, MiB": max(watched.seen.values()),
        }

    race(
        "Memory: one step of a run of 10,000, and what the process holds",
        f"{loss}, batch 12, 16 px{'' if tracked else ', without tracking'}",
        ours=whole,
        per=LAST - FIRST,
        columns=columns,
        large=True,
        once=True,
    )
