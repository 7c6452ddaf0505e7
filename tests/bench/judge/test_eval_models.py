"""`bench eval` on networks: our runs, plain weights, ONNX, and images in folders and tars."""

from __future__ import annotations

import json
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bench.backbones import BACKBONES
from bench.data import Preprocess
from bench.data.align import AlignSettings
from bench.images import decode_image
from bench.judge.models import Model, model_of_run
from bench.results import RunFolder
from bench.tracking import TrackingSettings, deliver
from bench.verification import normalize, pair_distances

from ..conftest import Bench
from .conftest import Small
from .test_eval_arrays import LEFT, RIGHT, figures

CPU = torch.device("cpu")
IMAGES = ("--pairs", "pairs.txt", "--images", "faces")
FAST = ("--intervals", "wilson")


def pixels_of(small: Small, size_px: int) -> np.ndarray:
    files = [small.images / f"{name}.png" for name in small.names]
    return np.stack([decode_image(file.read_bytes(), size_px) for file in files])


def saved_distances(folder: str, protocol: str) -> np.ndarray:
    with np.load(Path(folder) / "pairs.npz") as arrays:
        distances: np.ndarray = arrays[f"{protocol}/distances"]
        return distances


def expected_distances(model: Model, pixels: np.ndarray) -> np.ndarray:
    rows = normalize(model.embed(pixels, flip="none", batch_size=256))
    return pair_distances(rows[LEFT], rows[RIGHT])


def test_a_run_judged_again_on_its_own_test_gives_its_own_figures(
    bench_command: Bench, trained_run: Path
) -> None:
    ended = bench_command("eval", "--run", str(trained_run), *FAST, "--json", "out.json")
    assert ended.code == 0
    record = RunFolder(trained_run).record()
    assert record is not None
    written = figures("out.json")
    recorded = record.protocols["rendered"].metrics
    assert {name: written[name] for name in recorded} == recorded
    assert written["intervals"]["accuracy"]["low"] == record.protocols["rendered"].intervals["accuracy"][0]
    folder = Path("runs/evaluations") / f"{trained_run.name}-rendered"
    assert sorted(path.name for path in (folder / "figures").iterdir()) == [
        "rendered_distances.png",
        "rendered_hardest.png",
        "rendered_roc.png",
    ]


def test_one_checkpoint_is_judged_without_its_folder(
    bench_command: Bench, trained_run: Path, small: Small
) -> None:
    newest = sorted((trained_run / "checkpoints").glob("step-*.pt"))[-1]
    Path("model.pt").write_bytes(newest.read_bytes())
    ended = bench_command("eval", "--checkpoint", "model.pt", *IMAGES, *FAST, "--out", "out")
    assert ended.code == 0
    expected = expected_distances(model_of_run(trained_run, CPU), pixels_of(small, 32))
    np.testing.assert_array_equal(saved_distances("out", "pairs"), expected)


def test_images_in_a_tar_are_those_in_the_folder(
    bench_command: Bench, trained_run: Path, small: Small
) -> None:
    for name, mode in (("faces.tar", "w"), ("faces.tar.gz", "w:gz")):
        with tarfile.open(name, mode) as archive:
            archive.add("faces", arcname="some/where/faces")
    for number, images in enumerate(("faces", "faces.tar", "faces.tar.gz")):
        ended = bench_command(
            "eval",
            "--run",
            str(trained_run),
            "--pairs",
            "pairs.txt",
            "--images",
            images,
            *FAST,
            "--batch-size",
            "5",
            "--out",
            str(number),
        )
        assert ended.code == 0
    np.testing.assert_array_equal(saved_distances("0", "pairs"), saved_distances("1", "pairs"))
    np.testing.assert_array_equal(saved_distances("0", "pairs"), saved_distances("2", "pairs"))


@pytest.mark.parametrize("flip", ["sum", "concat"])
def test_the_mirrored_image_joins_in(
    bench_command: Bench, trained_run: Path, small: Small, flip: str
) -> None:
    ended = bench_command("eval", "--run", str(trained_run), *IMAGES, *FAST, "--flip", flip, "--out", "out")
    assert ended.code == 0
    model, pixels = model_of_run(trained_run, CPU), pixels_of(small, 32)
    one = model.embed(pixels, flip="none", batch_size=256)
    other = model.embed(np.ascontiguousarray(pixels[..., ::-1]), flip="none", batch_size=256)
    if flip == "sum":
        rows = normalize(one + other)
    else:
        rows = np.concatenate([normalize(one), normalize(other)], axis=1)
    np.testing.assert_allclose(
        saved_distances("out", "pairs"), pair_distances(rows[LEFT], rows[RIGHT]), atol=1e-5
    )
    assert json.loads(Path("out/thresholds.json").read_text())["preprocessing"]["flip"] == flip


def test_several_protocols_of_images_and_of_a_data_set_in_one_call(
    bench_command: Bench, trained_run: Path, small: Small
) -> None:
    ended = bench_command(
        "eval", "--run", str(trained_run), "--data", "tiny.yaml", *IMAGES, *FAST, "--json", "out.json"
    )
    assert ended.code == 0
    assert list(figures("out.json")["protocols"]) == ["rendered", "pairs"]


def test_insightfaces_bin_brings_images_and_pairs_and_runs_no_code(
    bench_command: Bench, trained_run: Path, small: Small
) -> None:
    files = [(small.images / f"{small.names[row % 18]}.png").read_bytes() for row in range(40)]
    same = [row % 2 == 0 for row in range(20)]
    Path("cfp.bin").write_bytes(pickle.dumps((files, same)))
    ended = bench_command("eval", "--run", str(trained_run), "--pairs", "cfp.bin", *FAST, "--out", "out")
    assert ended.code == 0
    pixels = np.stack([decode_image(file, 32) for file in files])
    rows = normalize(model_of_run(trained_run, CPU).embed(pixels, flip="none", batch_size=256))
    np.testing.assert_allclose(
        saved_distances("out", "cfp"), pair_distances(rows[0::2], rows[1::2]), atol=1e-6
    )
    Path("evil.bin").write_bytes(b"cos\nsystem\n(S'touch ran'\ntR.")
    ended = bench_command("eval", "--run", str(trained_run), "--pairs", "evil.bin")
    assert ended.code == 2
    assert not Path("ran").exists()


def test_plain_weights_are_fed_as_asked(bench_command: Bench, small: Small) -> None:
    torch.manual_seed(0)
    network = BACKBONES.build("small", {}, {"embedding_dim": 8, "width": 4}).eval()
    weights = {f"module.{name}": value for name, value in network.state_dict().items()}
    torch.save({"state_dict": {**weights, "module.fc.weight": torch.ones(3, 8)}}, "weights.pt")
    ended = bench_command(
        "eval",
        "--weights",
        "weights.pt",
        "--backbone",
        "small",
        "--backbone-option",
        "embedding_dim=8",
        "--backbone-option",
        "width=4",
        "--size",
        "40",
        "--crop",
        "32",
        "--standardize",
        "per_image",
        *IMAGES,
        *FAST,
        "--out",
        "out",
    )
    assert (ended.code, ended.err) == (0, "eval weights.pt: pairs: 18 images, 12 pairs\n")
    model = Model("w", network, Preprocess("per_image", 32), 40, CPU)
    expected = expected_distances(model, pixels_of(small, 40))
    np.testing.assert_allclose(saved_distances("out", "pairs"), expected, atol=1e-6)


def test_facenet_pytorchs_own_files_are_weights(bench_command: Bench, small: Small) -> None:
    from facenet_pytorch import InceptionResnetV1

    torch.manual_seed(0)
    network = InceptionResnetV1(num_classes=5, classify=False).eval()
    torch.save(network.state_dict(), "vggface2.pt", _use_new_zipfile_serialization=False)
    ended = bench_command(
        "eval",
        "--weights",
        "vggface2.pt",
        "--backbone",
        "inception_resnet_v1",
        "--size",
        "80",
        *IMAGES,
        *FAST,
        "--out",
        "out",
    )
    assert ended.code == 0
    images = (torch.from_numpy(pixels_of(small, 80)).float() - 127.5) / 128
    with torch.inference_mode():
        rows = network(images).numpy()  # normalises itself
    np.testing.assert_allclose(
        saved_distances("out", "pairs"), pair_distances(rows[LEFT], rows[RIGHT]), atol=1e-5
    )


WRONG = "weights.pt: are not weights of small"


@pytest.mark.parametrize("damage", ["all but one gone", "one too many", "no mapping"])
def test_weights_of_another_network_are_one_line(bench_command: Bench, small: Small, damage: str) -> None:
    weights = dict(BACKBONES.build("small", {}, {}).state_dict())
    names = list(weights)
    content, message = {
        "all but one gone": (
            {names[0]: weights[names[0]]},
            f"{WRONG}: lacks {names[1]} and {len(names) - 2} more",
        ),
        "one too many": (
            {**weights, "tail.weight": torch.ones(1), "fc.weight": torch.ones(1)},
            f"{WRONG}: holds tail.weight, which it does not know",
        ),
        "no mapping": ([1, 2], "weights.pt: holds no weights: a mapping of names to tensors is wanted"),
    }[damage]
    torch.save(content, "weights.pt")
    ended = bench_command("eval", "--weights", "weights.pt", "--backbone", "small", "--size", "32", *IMAGES)
    assert (ended.code, ended.err) == (2, message + "\n")


def test_an_option_that_does_not_fit_the_weights_names_the_tensor(bench_command: Bench, small: Small) -> None:
    torch.save(BACKBONES.build("small", {}, {"width": 4}).state_dict(), "weights.pt")
    ended = bench_command("eval", "--weights", "weights.pt", "--backbone", "small", "--size", "32", *IMAGES)
    assert ended.err == (
        f"{WRONG} as configured: stem.0.weight has shape (4, 3, 3, 3) instead of (16, 3, 3, 3); "
        "see --backbone-option\n"
    )


def test_an_exported_model_is_judged_through_onnx_like_the_run(
    bench_command: Bench, trained_run: Path, small: Small
) -> None:
    pytest.importorskip("onnxruntime", reason="needs faceloss-bench[onnx]")
    pytest.importorskip("onnxscript", reason="needs faceloss-bench[onnx]")
    bench_command("export", str(trained_run), "--format", "onnx", "--out", "model.onnx")
    assert bench_command("eval", "--onnx", "model.onnx", *IMAGES, *FAST, "--out", "onnx").code == 0
    expected = expected_distances(model_of_run(trained_run, CPU), pixels_of(small, 32))
    np.testing.assert_allclose(saved_distances("onnx", "pairs"), expected, atol=1e-5)
    preprocessing = json.loads(Path("onnx/thresholds.json").read_text())["preprocessing"]
    assert (preprocessing["size_px"], preprocessing["standardization"]) == (32, "none")


def test_what_is_no_onnx_model_is_one_line(bench_command: Bench, small: Small) -> None:
    pytest.importorskip("onnxruntime", reason="needs faceloss-bench[onnx]")
    assert bench_command("eval", "--onnx", "no.onnx", *IMAGES).err == (
        "no.onnx: does not exist; it should be an ONNX model\n"
    )
    ended = bench_command("eval", "--onnx", "pairs.txt", *IMAGES)
    assert ended.code == 2
    assert ended.err.startswith("pairs.txt: is not an ONNX model that onnxruntime reads (")


def test_without_onnxruntime_the_message_says_what_to_install(
    bench_command: Bench, small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    ended = bench_command("eval", "--onnx", "m.onnx", *IMAGES)
    assert ended.code == 2
    assert ended.err == "reading ONNX models needs onnxruntime: pip install 'faceloss-bench[onnx]'\n"


def test_missing_unreadable_and_doubled_images_are_one_line(
    bench_command: Bench, trained_run: Path, small: Small
) -> None:
    call = ("eval", "--run", str(trained_run), *IMAGES)
    first = small.images / f"{small.names[0]}.png"
    content = first.read_bytes()
    first.unlink()
    assert bench_command(*call).err == (
        "faces: there is no image 'Person_A/Person_A_0001'; did you mean 'Person_A/Person_A_0003'?\n"
    )
    first.write_bytes(content[:60])
    ended = bench_command(*call)
    assert ended.code == 2
    assert "faces: Person_A/Person_A_0001 cannot be decoded" in ended.err
    first.write_bytes(content)
    Image.open(first).save(first.with_suffix(".jpg"))
    assert bench_command(*call).err == (
        "faces: 'Person_A/Person_A_0001' is there twice: Person_A/Person_A_0001.jpg and "
        "Person_A/Person_A_0001.png\n"
    )
    ended = bench_command("eval", "--run", str(trained_run), "--pairs", "pairs.txt", "--images", "nowhere")
    assert ended.err == "nowhere: no such folder or tar file of images\n"


def test_a_tracked_evaluation_is_a_run_of_mlflow_each_time(
    bench_command: Bench, trained_run: Path, small: Small
) -> None:
    from mlflow import MlflowClient

    settings = AlignSettings(size_px=40, margin_px=8)
    (small.images / "alignment.json").write_text(settings.model_dump_json())
    call = ("eval", "--run", str(trained_run), *IMAGES, *FAST, "--track", "--json", "out.json")
    for _ in range(2):
        assert bench_command(*call).code == 0
    client = MlflowClient(f"sqlite:///{Path.cwd() / 'mlflow.db'}")
    (experiment,) = [one for one in client.search_experiments() if one.name == "faceloss-bench-evaluations"]
    found = client.search_runs([experiment.experiment_id])
    assert [one.info.status for one in found] == ["FINISHED", "FINISHED"]
    newest = found[0]
    assert newest.data.metrics["pairs/accuracy"] == figures("out.json")["accuracy"]
    assert newest.data.params["source"] == "run"
    assert newest.data.params["evaluate.metric"] == "sqeuclidean"
    artifacts = {one.path for one in client.list_artifacts(newest.info.run_id)}
    assert {"record.json", "pairs.npz", "thresholds.json", "figures"} <= artifacts
    folder = RunFolder(Path("runs/evaluations") / f"{trained_run.name}-pairs")
    record = folder.record()
    assert record is not None
    assert record.test_alignment == {"pairs": settings.alignment}
    # nothing is left to deliver
    assert deliver(folder, TrackingSettings(experiment="faceloss-bench-evaluations")).num_points == 0
