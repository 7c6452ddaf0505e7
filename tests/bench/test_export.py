"""`bench export`: the model outside of this program embeds like the run's own."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from bench import load_config, run
from bench.embed import embed
from bench.engine import run_path
from bench.export import export
from bench.trained import Trained, load_trained
from bench.verification import normalize

from .conftest import Bench

CPU = torch.device("cpu")


def trained(*overrides: str) -> tuple[Path, Trained]:
    config = load_config("tiny.yaml", ["train.max_steps=2", *overrides])
    run(config, track=False)
    return run_path(config), load_trained(run_path(config), CPU)


def as_the_run_embeds(model: Trained, pixels: np.ndarray) -> np.ndarray:
    flip = model.config.evaluate.flip
    rows = embed(model.backbone, pixels, device=CPU, batch_size=2, preprocess=model.preprocess, flip=flip)
    return rows if flip == "concat" else normalize(rows)


@pytest.mark.parametrize("flip", ["none", "sum", "concat"])
def test_torch_export_takes_pixels_of_any_batch_and_gives_unit_embeddings(workspace: Path, flip: str) -> None:
    _, model = trained(f"evaluate.flip={flip}", "augment.standardize=per_image")
    exported = export(model, Path("out/model.pt2"), kind="torch")
    assert exported.difference <= 1e-6
    program = torch.export.load("out/model.pt2").module()
    for count in (1, 5):
        pixels = np.random.default_rng(count).integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)
        rows = program(torch.from_numpy(pixels)).detach().numpy()
        np.testing.assert_allclose(rows, as_the_run_embeds(model, pixels), atol=1e-6)
        assert rows.shape == (count, exported.embedding_dim)
    if flip != "concat":
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)


def test_onnx_says_how_far_it_differs_and_carries_the_thresholds(bench_command: Bench) -> None:
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name, reason="needs faceloss-bench[onnx]")
    import onnx
    from onnxruntime import InferenceSession

    folder, model = trained()
    ended = bench_command("export", str(folder), "--format", "onnx", "--out", "model.onnx")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith(
        "model.onnx: pixels (B, 3, 32, 32) uint8 -> embeddings (B, 16); embeds alike, largest difference "
    )
    assert float(ended.out.split()[-1]) < 1e-5
    assert [path.name for path in Path().glob("model.onnx*")] == ["model.onnx"]
    session = InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
    pixels = np.random.default_rng(0).integers(0, 256, (4, 3, 32, 32), dtype=np.uint8)
    (rows,) = session.run(["embeddings"], {"pixels": pixels})
    np.testing.assert_allclose(rows, as_the_run_embeds(model, pixels), atol=1e-5)
    properties = {entry.key: entry.value for entry in onnx.load("model.onnx").metadata_props}
    told = json.loads(properties["faceloss-bench.json"])
    assert told["thresholds"] == json.loads((folder / "thresholds.json").read_text())
    assert (told["size_px"], told["config_hash"]) == (32, model.config.hash)


def test_a_model_that_embeds_otherwise_is_not_written(
    bench_command: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = trained()
    monkeypatch.setattr("bench.export._run_torch", lambda path, pixels: np.full((len(pixels), 16), 0.5))
    ended = bench_command("export", str(folder), "--out", "model.pt2")
    assert ended.code == 1
    assert "model.pt2: the exported model differs by " in ended.err
    assert "more than 5e-05; nothing was written\n" in ended.err
    assert not list(Path().glob("*model.pt2*"))


def test_without_its_packages_onnx_says_what_to_install(
    bench_command: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = trained()
    monkeypatch.setitem(sys.modules, "onnx", None)
    ended = bench_command("export", str(folder), "--format", "onnx", "--out", "model.onnx")
    assert (ended.code, ended.err) == (2, "--format onnx needs onnx: pip install 'faceloss-bench[onnx]'\n")
    assert not list(Path().glob("*model.onnx*"))


def test_what_is_no_run_is_one_line(bench_command: Bench) -> None:
    ended = bench_command("export", "nowhere", "--out", "model.pt2")
    assert (ended.code, ended.err) == (2, "nowhere: no such run folder or checkpoint\n")
