"""What the training loop costs beside forward, loss, backward and step alone. Asserts no time.

Both train: neither validates nor tests between the steps that are timed, for a bare loop has nothing of the
kind. A checkpoint falls due every 60 s, more than a round takes; so the time of the one that ends a run is
added as the share of 60 s that it is, once the steps have taken so long.

Both compute in the same number of torch threads: one, beside which a core is free, or as many as there are
cores, which is what users have. Ours has one more that reads and augments the next batch meanwhile, which the
bare loop finds ready; so the row says what processor time either takes, too.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import pytest
import torch

from .conftest import THREADS, Race, Seconds, said
from .watched import Watched

FIRST, LAST = 10, 110  # steps between which time is taken: the first ones warm up
CONFIG = """\
data: {{name: rendered, identities: 16, images_per_identity: 16, size_px: 64, test_pairs: 4,
       validation_pairs: 3}}
backbone: {{name: small}}
loss: {{name: {loss}}}
batch: {batch}
optimizer: {{name: adamw, learning_rate: 1e-3}}
schedule: {{name: cosine}}
augment: {{shift_px: 2}}
train: {{epochs: 1000, max_steps: {last}, log_every: {first}}}
evaluate: {{every_epochs: 1000}}
runtime: {{device: cpu, runs: {folder}/runs}}
tracking: {{uri: "sqlite:///{folder}/mlflow.db"}}
"""
IN_A_STEP = ("data", "forward", "loss", "backward", "optimizer", "logging")
BATCHES = {
    "softmax": "{name: random, size: 96}",
    "triplet": "{name: pk, people: 12, images: 8}",
}


@pytest.mark.parametrize("threads", THREADS, indirect=True)
@pytest.mark.parametrize("loss", list(BATCHES))
def test_loop(race: Race, loss: str, threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`bench.run` with tracking, monitors, augmentation and checkpoints, and a bare loop on ready tensors."""
    from bench import load_config, run
    from bench.build import augmentation, build, preprocess
    from bench.data import DATASETS, cache_folder

    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "loop.yaml"
    file.write_text(CONFIG.format(loss=loss, batch=BATCHES[loss], folder=tmp_path, first=FIRST, last=LAST))
    config = load_config(file, [f"runtime.threads={threads}"])
    data = DATASETS.build(config.data.name, {"cache": cache_folder()}, config.data.options)
    parts: dict[str, float] = {}
    cpu_s: dict[str, list[float]] = {"ours": [], "the bare loop": []}

    def whole() -> Seconds:
        watched = Watched()
        record = run(config, again=True, progress=watched)
        took = record.timing.parts_s
        steps_s = watched.wall_s[LAST] - watched.wall_s[FIRST]
        cpu_s["ours"].append(watched.cpu_s[LAST] - watched.cpu_s[FIRST])
        checkpoints_s = took["checkpoint"] * steps_s / config.runtime.checkpoint_every_s
        parts.update({f"{name} (ms a step)": 1e3 * took[name] / LAST for name in IN_A_STEP})
        parts["checkpoints (ms a step)"] = 1e3 * checkpoints_s / (LAST - FIRST)
        parts["a checkpoint (ms)"] = 1e3 * took["checkpoint"]
        return Seconds(steps_s + checkpoints_s)

    learner, _, _ = build(config, data, torch.device("cpu"))
    learner.loss.monitoring = False
    augment, pixels = augmentation(config), preprocess(config)
    ready = []
    for number in range(8):
        batch = learner.source.next(lambda indices: torch.zeros(len(indices), 1))
        images = augment(torch.from_numpy(data.train.images[batch.indices]), number, len(batch.indices))
        labels = torch.from_numpy(data.train.labels[batch.indices])
        ready.append((pixels(images).contiguous(memory_format=torch.channels_last), labels))

    def bare() -> Seconds:
        learner.backbone.train()
        start, cpu_start = time.perf_counter(), time.process_time()
        for step in range(LAST):
            if step == FIRST:
                start, cpu_start = time.perf_counter(), time.process_time()
            images, labels = ready[step % len(ready)]
            total = learner.loss(learner.backbone(images), labels).total
            learner.optimizer.zero_grad(set_to_none=True)
            total.backward()
            learner.optimizer.step()
        cpu_s["the bare loop"].append(time.process_time() - cpu_start)
        return Seconds(time.perf_counter() - start)

    def details() -> dict[str, float]:
        per_step = 1e3 / (LAST - FIRST)
        processor = {
            f"processor time of {name} (ms a step)": per_step * statistics.median(seconds)
            for name, seconds in cpu_s.items()
            if seconds
        }
        return parts | processor

    race(
        "The loop: one step of `bench run` beside a bare loop",
        f"{loss}, batch 96, small backbone at 64 px, {said(threads)}",
        ours=whole,
        limit=("forward, loss, backward, step, batches ready", bare),
        per=LAST - FIRST,
        details=details,
        large=True,
        rounds=9,
    )
