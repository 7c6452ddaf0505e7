"""`bench eval` on embeddings and distances made elsewhere: figures, files, and every mistake in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.results import read_thresholds
from bench.verification import (
    bootstrap_intervals,
    find_thresholds,
    fold_distances,
    normalize,
    pair_distances,
    verify,
    wilson_intervals,
)

from ..conftest import Bench
from .conftest import Small, save_embeddings

EVAL = ("eval", "--embeddings", "emb.npz", "--pairs", "pairs.txt")

# pairs.txt of `small`, by row of the names
LEFT = [0, 3, 6, 0, 3, 6, 9, 12, 15, 9, 12, 15]
RIGHT = [1, 4, 7, 5, 8, 2, 10, 13, 16, 14, 17, 11]
SAME = ([True] * 3 + [False] * 3) * 2
FOLD = [0] * 6 + [1] * 6


def figures(path: str | Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(
        Path(path).read_text(), parse_constant=lambda text: pytest.fail(text)
    )
    return document


def distances(path: str, **arrays: Any) -> None:
    np.savez(path, **{name: np.asarray(values) for name, values in arrays.items()})


def test_every_figure_of_the_contract_equals_the_library(bench_command: Bench, small: Small) -> None:
    rows = normalize(save_embeddings(Path("emb.npz"), small.names))
    ended = bench_command(*EVAL, "--far", "0.5", "--far", "0.34", "--json", "out.json")
    assert (ended.code, ended.err) == (0, "")
    expected_distances = pair_distances(rows[LEFT], rows[RIGHT])
    expected = verify(expected_distances, SAME, FOLD, fars=(0.5, 0.34))
    written = figures("out.json")
    assert {name: written[name] for name in expected.metrics} == dict(expected.metrics)
    assert written["fold_accuracy"] == list(expected.fold_accuracy)
    assert written["fold_threshold"] == list(expected.fold_threshold)
    assert written["val_facenet"] == expected.val_facenet
    interval = bootstrap_intervals(expected_distances, SAME, FOLD, fars=(0.5, 0.34))["val_exact_at_far_5e-1"]
    assert written["val_exact"]["5e-1"] == {
        **expected.val_exact["5e-1"],
        "interval": [interval.low, interval.high],
    }
    assert set(written["val_facenet"]["3.4e-1"]) == {"val", "val_std", "far"}
    assert (written["protocol"], written["metric"], written["normalized"]) == ("pairs", "sqeuclidean", True)


def test_metric_mean_and_norm_are_as_asked(bench_command: Bench, small: Small) -> None:
    rows = save_embeddings(Path("emb.npz"), small.names)
    bench_command(*EVAL, "--metric", "cosine", "--subtract-mean", "--json", "mean.json")
    unit = normalize(rows)
    expected = verify(fold_distances(unit[LEFT], unit[RIGHT], FOLD, metric="cosine"), SAME, FOLD)
    assert figures("mean.json")["auc"] == expected.metrics["auc"]
    bench_command(*EVAL, "--metric", "euclidean", "--no-normalize", "--json", "raw.json")
    raw = verify(pair_distances(rows[LEFT], rows[RIGHT], metric="euclidean"), SAME, FOLD)
    assert figures("raw.json")["auc"] == raw.metrics["auc"]
    assert figures("raw.json")["normalized"] is False


def test_intervals_are_by_pair_by_identity_or_wilsons(bench_command: Bench, small: Small) -> None:
    rows = normalize(save_embeddings(Path("emb.npz"), small.names, dimension=2, seed=3))
    measured = pair_distances(rows[LEFT], rows[RIGHT])
    bench_command(*EVAL, "--far", "0.5", "--intervals", "wilson", "--json", "wilson.json")
    accuracy = wilson_intervals(measured, SAME, FOLD, fars=(0.5,))["accuracy"]
    assert figures("wilson.json")["intervals"]["accuracy"] == {
        "low": accuracy.low,
        "high": accuracy.high,
        "method": "wilson",
        "reason": None,
    }
    bench_command(
        *EVAL, "--far", "0.5", "--intervals", "identity", "--replicates", "100", "--json", "id.json"
    )
    people = np.array([[i // 3, j // 3] for i, j in zip(LEFT, RIGHT, strict=True)])
    auc = bootstrap_intervals(measured, SAME, FOLD, fars=(0.5,), identities=people, replicates=100)["auc"]
    written = figures("id.json")["intervals"]["auc"]
    assert (written["method"], written["low"]) == (auc.method, auc.low if auc.low == auc.low else None)


def test_the_table_has_intervals_and_warns_of_too_few_impostors(bench_command: Bench, small: Small) -> None:
    save_embeddings(Path("emb.npz"), small.names)
    ended = bench_command(*EVAL)
    assert "emb on pairs: 2 folds, 12 pairs, sqeuclidean" in ended.out
    assert "95 % interval" in ended.out
    assert "pairs: FAR 1e-3 is below one of 6 impostor pairs: it cannot be measured\n" in ended.out
    assert ended.out.endswith("figures, thresholds, pairs and pictures: runs/evaluations/emb-pairs/\n")


def test_json_on_standard_output_stands_alone(bench_command: Bench, small: Small) -> None:
    save_embeddings(Path("emb.npz"), small.names)
    ended = bench_command(*EVAL, "--json", "-")
    assert json.loads(ended.out)["num_genuine"] == 6
    assert "emb on pairs" in ended.err


def test_several_protocols_in_one_call_stand_by_name(bench_command: Bench, small: Small) -> None:
    save_embeddings(Path("emb.npz"), small.names)
    Path("more.csv").write_text(
        "left,right,same,fold\n"
        "Person_A/Person_A_0001.png,Person_A/Person_A_0003.png,1,1\n"
        "Person_A/Person_A_0001,Person_B/Person_B_0001,0,1\n"
        "Person_C/Person_C_0001,Person_C/Person_C_0003,true,2\n"
        "Person_C/Person_C_0001,Person_D/Person_D_0001,false,2\n"
    )
    ended = bench_command(*EVAL, "--pairs", "few=more.csv", "--json", "out.json")
    assert ended.code == 0
    protocols = figures("out.json")["protocols"]
    assert {name: one["num_genuine"] for name, one in protocols.items()} == {"pairs": 6, "few": 2}
    assert set(read_thresholds(Path("runs/evaluations/emb-pairs-few/thresholds.json")).data) == {
        "pairs",
        "few",
    }


def test_curves_are_there_when_asked_for(bench_command: Bench, small: Small) -> None:
    save_embeddings(Path("emb.npz"), small.names)
    bench_command(*EVAL, "--json", "plain.json")
    bench_command(*EVAL, "--curves", "--json", "curves.json")
    assert "roc" not in figures("plain.json")
    written = figures("curves.json")
    assert written["roc"]["val"] == pytest.approx([1 - frr for frr in written["det"]["frr"]])
    assert written["roc"]["threshold"][-1] is None  # infinity: accepts everything
    assert (written["roc"]["far"][0], written["roc"]["far"][-1]) == (0.0, 1.0)


def test_thresholds_are_saved_with_what_they_rest_on(bench_command: Bench, small: Small) -> None:
    rows = normalize(save_embeddings(Path("emb.npz"), small.names))
    bench_command(*EVAL, "--metric", "cosine", "--subtract-mean", "--far", "0.5", "--out", "here")
    document = read_thresholds(Path("here/thresholds.json"))
    # without the mean: two images that somebody holds up have no training folds
    measured = pair_distances(rows[LEFT], rows[RIGHT], metric="cosine")
    expected = find_thresholds(measured, SAME, fars=[0.5], source="pairs, all folds")["5e-1"]
    assert document.data["pairs"]["5e-1"].threshold == expected.threshold
    assert document.data["pairs"]["5e-1"].source == "pairs, all folds"
    assert list(document.data["pairs"]) == ["5e-1", "1e-1", "1e-2", "1e-3"]
    assert (document.metric, document.normalized, document.preprocessing.size_px) == ("cosine", True, None)


def test_distances_need_no_embeddings(bench_command: Bench, workspace: Path) -> None:
    values, same = [0.1, 0.9, 0.4, 0.5, 0.2, 0.8], [1, 0, 1, 0, 1, 0]
    distances("d.npz", distances=values, same=np.array(same, bool), fold=[1, 1, 2, 2, 3, 3])
    assert bench_command("eval", "--distances", "d.npz", "--json", "out.json").code == 0
    written = figures("out.json")
    expected = verify(values, same, [0, 0, 1, 1, 2, 2])
    assert written["fold_accuracy"] == list(expected.fold_accuracy)
    assert (written["metric"], written["flip"], written["protocol"]) == (None, None, "d")


def test_folds_are_cut_anew_in_the_order_of_the_pairs(bench_command: Bench, workspace: Path) -> None:
    draw = np.random.default_rng(1)
    values, same = draw.random(24), np.arange(24) % 2 == 0
    distances("d.npz", distances=values, same=same)
    bench_command("eval", "--distances", "d.npz", "--folds", "3", "--json", "out.json")
    expected = verify(values, same, np.repeat([0, 1, 2], 8))
    assert figures("out.json")["fold_accuracy"] == list(expected.fold_accuracy)


def test_one_kind_of_pair_gives_null_with_the_reason(bench_command: Bench, workspace: Path) -> None:
    distances("d.npz", distances=[0.1, 0.2], same=[True, True], fold=[0, 1])
    ended = bench_command("eval", "--distances", "d.npz", "--json", "out.json")
    assert ended.code == 0
    written = figures("out.json")
    assert written["accuracy"] is None
    assert written["reasons"]["accuracy"] == "there are no impostor pairs"
    assert "d: accuracy: there are no impostor pairs\n" in ended.out


def test_a_fold_without_impostors_has_no_far_and_says_so(bench_command: Bench, workspace: Path) -> None:
    distances("d.npz", distances=[0.1, 0.9, 0.8, 0.2, 0.3], same=[1, 0, 0, 1, 1], fold=[0, 0, 0, 1, 1])
    assert bench_command("eval", "--distances", "d.npz", "--json", "out.json").code == 0
    written = figures("out.json")
    assert written["far"] is None
    assert written["reasons"]["far"] == "no impostor pairs outside fold 0, so there is no threshold"


GOOD = {"distances": [0.1, 0.9, 0.2, 0.8], "same": [1, 0, 1, 0], "fold": [0, 0, 1, 1]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"distances": [0.1, np.nan, 0.2, 0.8]},
            "d.npz: d: distances must be finite, but pair 1 has nan; drop no pair, fix it",
        ),
        (
            {"distances": [0.1, -0.9, 0.2, 0.8]},
            "d.npz: d: distances must be >= 0 and smaller for more similar faces, but the least is "
            "-0.9; turn a cosine similarity s into 1 - s",
        ),
        (
            {"fold": [0, 0, 3, 3]},
            "d.npz: d: fold numbers must run from 0 to F - 1, each with a pair, but fold 1 of 4 is empty",
        ),
        (
            {"fold": [0, 0, 0, 0]},
            "d.npz: d: cross-validation needs at least 2 folds, but all pairs are in fold 0",
        ),
        (
            {"fold": [0, 1]},
            "d.npz: fold must be integers of shape (4,) like the distances, but got int64 (2,)",
        ),
        ({"same": [1, 0, 2, 0]}, "d.npz: same must be True or False (or 1 and 0)"),
        (
            {"same": [1, 0]},
            "d.npz: distances and same must both be (P,), same True or False, but got float64 (4,) "
            "and int64 (2,)",
        ),
        ({"fold": None}, "d.npz: 4 pairs cannot fill 10 folds; give --folds a smaller number"),
        (
            {"distances": None, "distance": [0.1]},
            "d.npz: must hold the arrays distances and same, but holds same, fold, distance",
        ),
    ],
)
def test_distances_that_cannot_be_judged_are_one_line(
    bench_command: Bench, workspace: Path, change: dict[str, Any], message: str
) -> None:
    arrays = {name: values for name, values in {**GOOD, **change}.items() if values is not None}
    distances("d.npz", **arrays)
    ended = bench_command("eval", "--distances", "d.npz")
    assert (ended.code, ended.out, ended.err) == (2, "", message + "\n")
    assert not Path("runs").exists()


NAMES = np.array(["A/A_0001", "A/A_0002", "B/B_0001"])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"names": np.array(["A/A_0001", "B/B_0001", "A/A_0001.jpg"])},
            "emb.npz: the name 'A/A_0001' stands twice, in rows 0 and 2",
        ),
        (
            {"embeddings": np.ones((2, 4))},
            "emb.npz: embeddings must have shape (3, D) like the names, but got (2, 4)",
        ),
        (
            {"embeddings": np.ones(3)},
            "emb.npz: embeddings must have shape (3, D) like the names, but got (3,)",
        ),
        (
            {"embeddings": np.array([[1.0], [np.nan], [1.0]])},
            "emb.npz: embeddings must be finite, but row 1 is not",
        ),
        (
            {"embeddings": np.array([[1.0], [1.0], [0.0]])},
            "emb.npz: an embedding of norm 0 has no direction: row 2",
        ),
        (
            {"embeddings": np.array([["x"], ["y"], ["z"]])},
            "emb.npz: embeddings must be real numbers of shape (N, D), but got <U1 (3, 1)",
        ),
        ({"names": np.arange(3)}, "emb.npz: names must be strings of shape (N,), but got int64 (3,)"),
        (
            {"names": np.array(["a", "b", "c"], object)},
            "emb.npz: holds Python objects, which are not read (they could run code); save plain "
            "arrays, names as dtype str",
        ),
        ({}, "emb.npz: has no embedding of 'Person_A/Person_A_0001', which pairs names, and of 17 more"),
    ],
)
def test_embeddings_that_cannot_be_judged_are_one_line(
    bench_command: Bench, small: Small, arrays: dict[str, Any], message: str
) -> None:
    np.savez("emb.npz", **{"names": NAMES, "embeddings": np.eye(3), **arrays})
    ended = bench_command(*EVAL)
    assert (ended.code, ended.out, ended.err) == (2, "", message + "\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("left,right\nA,B\n", "p.csv:1: the header must be left,right,same[,fold], but is left,right"),
        (
            "left,righty,same\nA,B,1\n",
            "p.csv:1: the header must be left,right,same[,fold], but is left,righty,same; "
            "did you mean 'right'?",
        ),
        ("left,right,same\nA,B\n", "p.csv:2: must have 3 cells: left,right,same[,fold]"),
        ("left,right,same\nA,B,maybe\n", "p.csv:2: same must be 1 or 0 (or true or false), but got 'maybe'"),
        ("left,right,same\nA.jpg,A.png,1\n", "p.csv:2: a pair needs two images, but both are A"),
        ("left,right,same,fold\nA,B,1,x\n", "p.csv:2: fold must be a number from 0, but got 'x'"),
        ("left,right,same\n", "p.csv: holds no pair"),
        (
            "left,right,same\nA,B,1\nA,C,0\n",
            "p.csv: 2 pairs cannot fill 10 folds; give --folds a smaller number",
        ),
    ],
)
def test_a_csv_file_that_is_wrong_names_its_line(
    bench_command: Bench, small: Small, text: str, message: str
) -> None:
    save_embeddings(Path("emb.npz"), small.names)
    Path("p.csv").write_text(text)
    ended = bench_command("eval", "--embeddings", "emb.npz", "--pairs", "p.csv")
    assert (ended.code, ended.err) == (2, message + "\n")


def test_a_pairs_file_whose_header_lies_is_refused(bench_command: Bench, small: Small) -> None:
    save_embeddings(Path("emb.npz"), small.names)
    small.pairs.write_text(small.pairs.read_text().replace("2\t3", "3\t3"))
    ended = bench_command(*EVAL)
    assert ended.code == 2
    assert ended.err == "pairs.txt:1: the header promises 3 x (3 + 3) = 18 pairs, but 12 follow\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            (),
            "name one thing to judge (--run, --checkpoint, --weights, --onnx, --embeddings, "
            "--distances), got none",
        ),
        (
            ("--run", "r", "--onnx", "o"),
            "name one thing to judge (--run, --checkpoint, --weights, --onnx, --embeddings, "
            "--distances), got --run and --onnx",
        ),
        (("--embeddings", "e.npz"), "--embeddings needs --pairs FILE: which images are compared"),
        (("--embeddings", "e.npz", "--pairs", "p", "--flip", "sum"), "--flip: --embeddings has no images"),
        (("--distances", "d.npz", "--metric", "cosine"), "--metric: --distances are of pairs already"),
        (("--weights", "w.pt"), "--weights needs --backbone NAME; 'bench list backbones' shows the names"),
        (("--onnx", "o", "--backbone", "small"), "--backbone goes with --weights; --onnx needs none"),
        (("--onnx", "o"), "--onnx needs --pairs FILE with --images, or --data CONFIG: what to ask it"),
        (
            ("--run", "r", "--pairs", "p"),
            "--pairs and --images go together: a list of pairs, and the images that it names",
        ),
        (("--run", "r", "--size", "64"), "--size: --run knows what its images must be"),
        (("--distances", "d.npz", "--far", "0"), "--far must lie between 0 and 1, but got 0"),
        (("--distances", "d.npz", "--far", "0.1", "--far", "1e-1"), "--far: each rate must be given once"),
        (
            ("--embeddings", "no.npz", "--pairs", "no.txt"),
            "no.npz: does not exist; it should be an .npz file with names and embeddings",
        ),
        (
            ("--distances", "tiny.yaml"),
            "tiny.yaml: is not a readable .npz file; it should hold distances and same",
        ),
    ],
)
def test_options_that_do_not_go_together_are_one_line(
    bench_command: Bench, workspace: Path, arguments: tuple[str, ...], message: str
) -> None:
    ended = bench_command("eval", *arguments)
    assert (ended.code, ended.out, ended.err) == (2, "", message + "\n")


def test_an_evaluation_never_overwrites_a_run(bench_command: Bench, small: Small) -> None:
    save_embeddings(Path("emb.npz"), small.names)
    Path("runs/mine/checkpoints").mkdir(parents=True)
    ended = bench_command(*EVAL, "--out", "runs/mine")
    assert ended.code == 2
    assert ended.err == "runs/mine: holds a run, which an evaluation would overwrite; give another --out\n"
