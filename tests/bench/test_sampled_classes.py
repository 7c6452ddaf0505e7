"""A run whose steps see some of the classes: it learns, goes on exactly, is asked for as any other."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from bench import load_config, run
from bench.errors import BenchError

from .conftest import Bench
from .test_run import UNTRACKED, PullsThePlug, curve, weights

MANY = [
    *UNTRACKED, "data={name: rendered, identities: 60, images_per_identity: 6, size_px: 32, "
    "test_pairs: 10, validation_pairs: 10}",
    "optimizer.learning_rate=0.01", "train.epochs=8", "evaluate.every_epochs=8", "batch.size=12",
]  # fmt: skip
STUDY = "extends: tiny.yaml\nobjective: {metric: validation/accuracy}\nstudy: {trials: 2}\n"


@pytest.mark.usefixtures("workspace")
class TestRun:
    def test_a_sample_of_the_classes_teaches_about_as_much_as_all(self) -> None:
        untrained = run("tiny.yaml", [*MANY, "train.max_steps=1"])
        whole = run("tiny.yaml", MANY)
        sampled = run("tiny.yaml", [*MANY, "loss.sample_rate=0.5"])
        auc = [record.metrics()["rendered/auc"] for record in (untrained, whole, sampled)]
        assert auc[2] > auc[0] + 0.1, auc
        assert auc[2] > auc[1] - 0.05, auc

    def test_an_interrupted_run_goes_on_with_the_same_classes(self) -> None:
        sampled = [*UNTRACKED, "loss.sample_rate=0.8", "train.clip_norm=1.0"]
        run("tiny.yaml", sampled)
        shutil.move("runs", "whole")
        with pytest.raises(BenchError, match="pulled the plug"):
            run("tiny.yaml", sampled, progress=PullsThePlug(at_step=9))
        assert run("tiny.yaml", sampled, resume=True).resumed_from_step == 8
        assert curve(Path("whole")) == curve(Path("runs"))
        assert weights(Path("whole")) == weights(Path("runs"))

    def test_unset_it_leaves_the_hash_as_it_was_also_inside_other_losses(self) -> None:
        joint = "loss={{name: sum, terms: [{{loss: {{name: softmax{}}}}}, {{loss: {{name: triplet}}}}]}}"
        for unset, at_default, other in (
            (
                "loss={name: cosface}",
                "loss={name: cosface, sample_rate: 1}",
                "loss={name: cosface, sample_rate: 0.5}",
            ),
            (joint.format(""), joint.format(", sample_rate: 1.0"), joint.format(", sample_rate: 0.5")),
        ):
            hashes = [load_config("tiny.yaml", [loss]).hash for loss in (unset, at_default, other)]
            assert hashes[0] == hashes[1] != hashes[2]
        # of the configuration before there was a sample_rate
        assert load_config("tiny.yaml").hash.startswith("b3bc0417d0a0")


class TestCommand:
    def test_losses_are_listed_with_it(self, bench_command: Bench) -> None:
        listed = bench_command("list", "losses", "--long").out
        assert listed.count("sample_rate") >= 8

    def test_a_share_that_is_none_is_refused(self, bench_command: Bench) -> None:
        ended = bench_command("check", "tiny.yaml", "loss.sample_rate=0")
        assert ended.code == 2
        assert ended.err == "loss.sample_rate: must be > 0 and <= 1, got 0 (command line)\n"

    def test_a_study_can_search_it(self, bench_command: Bench, workspace: Path) -> None:
        (workspace / "study.yaml").write_text(
            f"{STUDY}search: {{loss.sample_rate: {{float: [0.1, 1.0], log: true}}}}\n"
        )
        assert bench_command("check", "study.yaml").code == 0
        (workspace / "study.yaml").write_text(f"{STUDY}search: {{loss.sample_rate: {{float: [0.1, 2.0]}}}}\n")
        ended = bench_command("check", "study.yaml")
        assert ended.code == 2
        assert "loss.sample_rate: must be > 0 and <= 1, got 2" in ended.err

    def test_the_schema_of_editors_knows_it(self, bench_command: Bench) -> None:
        schema = bench_command("schema").out
        assert json.loads(schema) and '"sample_rate"' in schema
