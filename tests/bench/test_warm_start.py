"""Tests of `init:`: weights of another run, what stands still, and what the record says of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from bench import RunRecord, load_config, run
from bench.build import build
from bench.data import DATASETS, Data, cache_folder
from bench.engine import run_path
from bench.errors import ConfigError, UserError
from bench.learner import Learner
from bench.results import RunFolder
from bench.trained import load_trained

from .conftest import Bench

CPU = torch.device("cpu")
UNTRACKED = "tracking.enabled=false"
TRIPLET = ["loss={name: triplet}", "batch={name: pk, people: 6, images: 3}", "train.max_steps=2"]


@pytest.fixture
def source(workspace: Path) -> Path:
    """The folder of a finished run."""
    config = load_config("tiny.yaml", [UNTRACKED, "name=source", "train.max_steps=4"])
    run(config, track=False)
    return run_path(config)


def data_of(*overrides: str) -> Data:
    config = load_config("tiny.yaml", overrides)
    return DATASETS.build("rendered", {"cache": cache_folder()}, config.data.options)


def started(*overrides: str) -> Learner:
    learner, _, _ = build(load_config("tiny.yaml", overrides), data_of(), CPU)
    return learner


def test_a_training_starts_from_the_weights_of_another_run(source: Path) -> None:
    theirs = load_trained(source, CPU).backbone.state_dict()
    mine = started(f"init.from={source}", "seed=7", *TRIPLET).backbone.state_dict()
    assert all(torch.equal(mine[name], value) for name, value in theirs.items())


def test_the_loss_stays_behind_unless_it_is_asked_for(source: Path) -> None:
    newest = sorted((source / "checkpoints").glob("step-*.pt"))[-1]
    theirs = torch.load(newest, weights_only=True)["learner"]["loss"]
    whole = started(f"init.from={source}", "seed=7", "init.backbone_only=false").loss.state_dict()
    assert all(torch.equal(whole[name], value) for name, value in theirs.items())
    without = started(f"init.from={source}", "seed=7").loss.state_dict()
    assert not all(torch.equal(without[name], value) for name, value in theirs.items())


def test_the_record_says_whose_weights_it_started_from(source: Path) -> None:
    record = run("tiny.yaml", [UNTRACKED, f"init.from={source}", *TRIPLET])
    init = record.init
    assert init is not None
    theirs = RunFolder(source).record()
    assert theirs is not None
    assert (init.name, init.config_hash, init.step, init.source, init.backbone_only) == (
        "source",
        theirs.config_hash,
        4,
        str(source),
        True,
    )
    assert init.images == theirs.budget.images == 4 * 18
    assert record.config["init"]["sha256"] == init.sha256


def test_a_chain_of_warm_starts_adds_up_what_was_trained_on(source: Path) -> None:
    first = load_config("tiny.yaml", [UNTRACKED, "name=second", f"init.from={source}", *TRIPLET])
    run(first, track=False)
    record = run("tiny.yaml", [UNTRACKED, f"init.from={run_path(first)}", "train.max_steps=1"])
    assert record.init is not None
    assert record.init.images == 4 * 18 + 2 * 18


def test_a_finished_run_is_shown_without_its_source(source: Path) -> None:
    config = load_config("tiny.yaml", [UNTRACKED, f"init.from={source}", *TRIPLET])
    record = run(config, track=False)
    shutil.rmtree(source)
    assert run(config, track=False) == record


def test_the_summary_says_it_too(source: Path, bench_command: Bench) -> None:
    ended = bench_command("run", "tiny.yaml", UNTRACKED, f"init.from={source}", *TRIPLET)
    assert ended.code == 0, ended.err
    line = f"tiny s0: started from the weights of source after step 4 ({source}): 72 images more than its own"
    assert line in ended.out.splitlines()


def test_the_hash_knows_the_weights_by_content_not_by_path(source: Path, workspace: Path) -> None:
    here = load_config("tiny.yaml", [f"init.from={source}"])
    shutil.copytree(source, workspace / "elsewhere")
    assert load_config("tiny.yaml", ["init.from=elsewhere"]).hash == here.hash
    assert load_config("tiny.yaml").hash != here.hash
    newest = sorted((workspace / "elsewhere" / "checkpoints").glob("step-*.pt"))[-1]
    state = torch.load(newest, weights_only=True)
    state["learner"]["backbone"]["head.3.weight"][0, 0] += 1e-3
    torch.save(state, "changed.pt")
    assert load_config("tiny.yaml", ["init.from=changed.pt"]).hash != here.hash


def test_a_resolved_configuration_needs_the_source_no_more(source: Path) -> None:
    config = load_config("tiny.yaml", [UNTRACKED, f"init.from={source}", *TRIPLET])
    run(config, track=False)
    shutil.rmtree(source)
    assert load_config(run_path(config) / "config.yaml").hash == config.hash
    assert load_trained(run_path(config), CPU).step == 2


def test_an_interrupted_warm_start_continues_without_its_source(source: Path) -> None:
    overrides = [UNTRACKED, f"init.from={source}", "runtime.checkpoint_every_s=0"]
    whole = run("tiny.yaml", [*overrides, "runtime.runs=whole"])
    config = load_config("tiny.yaml", overrides)
    run(config, track=False)
    folder = run_path(config)
    newest = sorted((folder / "checkpoints").glob("step-*.pt"))[-1]
    (folder / "record.json").unlink()
    newest.unlink()  # as if it had been killed one checkpoint earlier
    shutil.copy(folder / "config.yaml", "again.yaml")
    shutil.rmtree(source)
    record = run("again.yaml", resume=True, track=False)
    assert record.resumed_from_step is not None
    assert record.init == whole.init
    assert record.protocols == whole.protocols


def test_other_weights_than_the_file_insists_on_are_refused(source: Path) -> None:
    right = load_config("tiny.yaml", [f"init.from={source}"]).init.sha256
    assert right is not None
    with pytest.raises(UserError) as error:
        started(f"init.from={source}", f"init.sha256={'0' * 64}")
    assert str(error.value) == (
        f"init.from: {source} holds other weights than init.sha256 says ({right[:12]}, not 000000000000); "
        "leave sha256 out to take them as they are"
    )


def test_weights_of_another_shape_name_the_parameter_and_both_shapes(source: Path) -> None:
    with pytest.raises(UserError) as error:
        started(f"init.from={source}", "backbone.embedding_dim=8")
    assert str(error.value) == (
        f"init.from: {source}: backbone: head.3.weight is (16, 512) there and (8, 512) here; it was "
        "trained as 'backbone: {name: small, embedding_dim: 16, width: 4, dropout: 0.0}'"
    )


def test_a_loss_that_does_not_fit_says_how_to_leave_it(source: Path) -> None:
    with pytest.raises(UserError) as error:
        started(f"init.from={source}", "init.backbone_only=false", *TRIPLET)
    assert str(error.value).startswith(f"init.from: {source}: loss center: has ")
    assert str(error.value).endswith(", which is not here; set init.backbone_only=true to leave it")


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("init.from=nowhere", "init.from: nowhere: no such run folder or checkpoint (command line)"),
        (
            "init.from=tiny.yaml",
            "init.from: tiny.yaml: not a readable checkpoint: no zip archive, as torch.save writes "
            "(command line)",
        ),
        ("init.form=x", "init.form: unknown key; did you mean 'from'? (command line)"),
        ("init.freeze=head", "init.freeze: must be one of 'none', 'backbone', 'all_but_head', got 'head'"),
        ("init.sha256=abc", "init.sha256: must be null or 64 digits from 0 to f, got 'abc' (command line)"),
    ],
)
def test_mistakes_are_one_line(workspace: Path, override: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_config("tiny.yaml", [override])
    (problem,) = error.value.problems
    assert problem.startswith(said)


class TestFreeze:
    def test_a_frozen_backbone_stays_as_it_was_to_the_last_statistic(self, source: Path) -> None:
        overrides = [UNTRACKED, f"init.from={source}", "init.freeze=backbone", "backbone.dropout=0.5"]
        # dropout has no weights: the source fits all the same
        config = load_config("tiny.yaml", overrides)
        run(config, track=False)
        before = load_trained(source, CPU).backbone.state_dict()
        after = load_trained(run_path(config), CPU).backbone.state_dict()
        assert all(torch.equal(after[name], value) for name, value in before.items())

    def test_all_but_the_head_leaves_the_head_to_learn(self, source: Path) -> None:
        config = load_config("tiny.yaml", [UNTRACKED, f"init.from={source}", "init.freeze=all_but_head"])
        run(config, track=False)
        before = load_trained(source, CPU).backbone.state_dict()
        after = load_trained(run_path(config), CPU).backbone.state_dict()
        changed = {name for name, value in before.items() if not torch.equal(after[name], value)}
        assert changed == {name for name in before if name.startswith("head.")}

    def test_after_its_epochs_the_backbone_learns_with_the_rest(self, source: Path) -> None:
        changed = {}
        for steps in (4, 5):  # an epoch is four steps
            overrides = [f"init.from={source}", "init.freeze=backbone", "init.freeze_epochs=1"]
            config = load_config("tiny.yaml", [UNTRACKED, *overrides, f"train.max_steps={steps}"])
            run(config, track=False)
            before = load_trained(source, CPU).backbone.state_dict()
            after = load_trained(run_path(config), CPU).backbone.state_dict()
            changed[steps] = sum(not torch.equal(after[name], value) for name, value in before.items())
        assert changed[4] == 0
        assert changed[5] > 20

    def test_a_resumed_run_thaws_when_the_whole_one_does(self, source: Path) -> None:
        overrides = [UNTRACKED, f"init.from={source}", "init.freeze=all_but_head", "init.freeze_epochs=2"]
        overrides += ["runtime.checkpoint_every_s=0", "runtime.checkpoints_kept=20"]
        config = load_config("tiny.yaml", overrides)
        whole = run(config, track=False)
        folder = RunFolder(run_path(config))
        for path in sorted(folder.checkpoints.glob("step-*.pt"))[7:]:  # step 0 has one too
            path.unlink()  # as if it had been killed after step 6, while the backbone stood still
        (folder.path / "record.json").unlink()
        again = run(config, resume=True, track=False)
        assert again.resumed_from_step == 6
        assert again.protocols == whole.protocols

    def test_a_loss_without_weights_leaves_nothing_to_train(self, workspace: Path) -> None:
        with pytest.raises(UserError) as error:
            started("init.freeze=backbone", *TRIPLET)
        assert str(error.value) == (
            "init.freeze: backbone: loss triplet has no weights of its own, so nothing would be left to "
            "train; set init.freeze=all_but_head"
        )


def test_a_run_that_starts_at_random_says_nothing_of_it(workspace: Path) -> None:
    record: RunRecord = run("tiny.yaml", [UNTRACKED, "train.max_steps=1"])
    assert record.init is None


def test_a_backbone_without_a_head_says_so(workspace: Path) -> None:
    Path("headless.py").write_text(
        "from torch import nn\nfrom bench.backbones import BACKBONES\n"
        "from losses.types import PositiveInt\n\n\n"
        "@BACKBONES.register\ndef headless(*, embedding_dim: PositiveInt = 4) -> nn.Module:\n"
        "    'One linear layer over all pixels.'\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, embedding_dim))\n"
    )
    with pytest.raises(UserError) as error:
        started("plugins=[headless.py]", "backbone={name: headless}", "init.freeze=all_but_head")
    assert str(error.value) == (
        "init.freeze: all_but_head: backbone headless: this backbone has no module 'head' and names none in "
        "'head_modules'; set init.freeze=none"
    )
