import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bench import RunRecord, load_config, run
from bench.checkpoint import Checkpoints
from bench.device import usable_cpus
from bench.errors import BenchError, TrainingError, UserError
from bench.results import RunFolder, read_metrics
from bench.verification import verify

from .conftest import Bench

UNTRACKED = ["tracking.enabled=false"]
SHARP = """\
from losses import LOSSES, Loss, LossOutput


@LOSSES.register
class Sharp(Loss):
    'The gradient of a root at 0 is infinite; the root is not.'

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0

    def compute(self, embeddings, labels):
        self.steps += 1
        total = embeddings.square().mean()
        if self.steps == 3:
            total = total + (embeddings - embeddings.detach()).abs().sqrt().sum()
        return LossOutput(total, {"sharp": total.detach()})
"""


def folder_of(record: RunRecord) -> RunFolder:
    return RunFolder(Path("runs") / f"{record.name}-{record.config_hash[:8]}-s{record.seed}")


@pytest.mark.usefixtures("workspace")
class TestRun:
    @pytest.mark.usefixtures("drawn")
    def test_a_run_leaves_record_pairs_figures_metrics_and_a_checkpoint(self) -> None:
        record = run("tiny.yaml", UNTRACKED)
        folder = folder_of(record)
        assert record.state == "FINISHED"
        written = folder.record()
        assert written is not None
        assert written.model_dump_json() == record.model_dump_json()
        state = folder.state()
        assert state is not None
        assert state.state == "FINISHED"
        assert sorted(path.name for path in folder.figures.iterdir()) == [
            "rendered_distances.png",
            "rendered_hardest.png",
            "rendered_roc.png",
        ]
        for path in folder.figures.iterdir():
            with Image.open(path) as figure:
                assert min(figure.size) > 300, path
        assert len(list(folder.checkpoints.glob("step-*.pt"))) == 2
        assert load_config(folder.config).hash == record.config_hash

    def test_the_figures_follow_from_the_saved_pairs(self) -> None:
        record = run("tiny.yaml", UNTRACKED)
        pairs = np.load(folder_of(record).pairs)
        figures = verify(pairs["rendered/distances"], pairs["rendered/same"], pairs["rendered/fold"])
        assert record.protocols["rendered"].metrics == pytest.approx(figures.metrics, nan_ok=True)
        assert figures.num_genuine == figures.num_impostor == 40

    def test_the_budget_counts_images_that_were_trained_on(self) -> None:
        record = run("tiny.yaml", UNTRACKED)
        assert record.budget.steps == 12
        assert record.budget.images == 12 * 18
        assert record.budget.images_forward_only == 0
        assert record.budget.epochs == 3

    def test_every_window_of_steps_and_every_epoch_has_its_line(self) -> None:
        record = run("tiny.yaml", UNTRACKED)
        lines = list(read_metrics(folder_of(record).metrics))
        training = [line.step for line in lines if "train/loss" in line.metrics]
        validation = [line.step for line in lines if "validation/accuracy" in line.metrics]
        assert training == [3, 6, 9, 12]
        assert validation == [4, 8, 12]
        assert {
            "train/cross_entropy",
            "train/center_term",
            "train/learning_rate",
            "train/images_per_s",
        } <= set(lines[0].metrics)

    def test_the_same_seed_gives_the_same_run_and_another_seed_another(self) -> None:
        first = run("tiny.yaml", UNTRACKED)
        second = run("tiny.yaml", UNTRACKED, again=True)
        other = run("tiny.yaml", [*UNTRACKED, "seed=1"])
        assert first.protocols == second.protocols
        assert first.protocols != other.protocols
        assert first.data_checksum == other.data_checksum

    def test_a_finished_run_is_not_trained_again(self) -> None:
        first = run("tiny.yaml", UNTRACKED)
        assert run("tiny.yaml", UNTRACKED) == first
        again = run("tiny.yaml", UNTRACKED, again=True)
        assert again.started_at >= first.started_at
        assert again.timing != first.timing

    @pytest.mark.parametrize(
        "overrides",
        [
            ["loss.name=softmax"],
            ["loss.name=triplet", "batch={name: pk, people: 6, images: 3}"],
            ["loss={name: triplet, mining: all}", "batch={name: pk, people: 6, images: 3}"],
            ["loss={name: triplet, mining: hard}", "batch={name: pk, people: 6, images: 3}"],
            ["train.ema_decay=0.9", "train.clip_norm=1.0"],
            ["evaluate.flip=sum", "evaluate.subtract_mean=true", "evaluate.metric=cosine"],
            ["evaluate.flip=concat", "evaluate.fars=[0.1, 0.01]"],
            ["augment={rotate_deg: 10, erase: 0.5, brightness: 0.2, standardize: per_image}"],
        ],
    )
    def test_every_kind_of_configuration_runs(self, overrides: list[str]) -> None:
        record = run("tiny.yaml", [*UNTRACKED, "train.max_steps=2", *overrides])
        assert record.state == "FINISHED"
        assert 0 <= record.protocols["rendered"].metrics["accuracy"] <= 1

    def test_the_average_of_the_weights_is_what_is_evaluated(self) -> None:
        plain = run("tiny.yaml", UNTRACKED)
        averaged = run("tiny.yaml", [*UNTRACKED, "train.ema_decay=0.99"])
        assert plain.protocols != averaged.protocols
        losses = [
            [line.metrics.get("train/loss") for line in read_metrics(folder_of(record).metrics)]
            for record in (plain, averaged)
        ]
        assert losses[0] == losses[1]

    def test_a_loss_that_is_not_finite_stops_before_it_touches_the_weights(self) -> None:
        message = r"^step \d+: the loss is (nan|inf) .*untouched; lower optimizer\.learning_rate"
        with pytest.raises(TrainingError, match=message):
            run("tiny.yaml", [*UNTRACKED, "optimizer={name: sgd, learning_rate: 1e30}"])
        (folder,) = Path("runs").iterdir()
        record = RunFolder(folder).record()
        assert record is not None
        assert record.state == "FAILED"
        assert record.error is not None
        assert record.error.startswith("step ")

    def test_a_gradient_that_is_not_finite_stops_before_it_touches_the_weights(self) -> None:
        Path("sharp.py").write_text(SHARP)
        message = (
            r"^step 3: the loss is finite \(.*\), its gradient is not; the weights of step 2 are untouched"
        )
        with pytest.raises(TrainingError, match=message):
            run("tiny.yaml", [*UNTRACKED, "plugins=[sharp.py]", "loss.name=sharp"])

    def test_overrides_beside_a_loaded_configuration_are_refused(self) -> None:
        with pytest.raises(UserError, match=r"^overrides \(seed=3\) go to load_config when a loaded"):
            run(load_config("tiny.yaml", UNTRACKED), ["seed=3"])

    def test_a_batch_that_the_data_cannot_give_writes_nothing(self) -> None:
        with pytest.raises(UserError, match=r"^batch\.people: 13 people x 4 images"):
            run("tiny.yaml", [*UNTRACKED, "batch={name: pk, people: 13, images: 4}"])
        assert not Path("runs").exists()

    def test_a_missing_gpu_is_said_before_anything_is_written(self) -> None:
        if torch.cuda.is_available():
            pytest.skip("needs a machine without a GPU")
        with pytest.raises(UserError, match=r"^runtime\.device: cuda: this machine has 0 CUDA devices"):
            run("tiny.yaml", [*UNTRACKED, "runtime.device=cuda"])
        assert not Path("runs").exists()

    def test_bf16_trains_or_is_refused_in_words_where_the_cpu_traps_it(self) -> None:
        try:
            record = run("tiny.yaml", [*UNTRACKED, "train.precision=bf16", "train.max_steps=2"])
        except UserError as error:
            assert str(error).startswith(
                "train.precision: bf16: this CPU announces bf16 instructions that crash"
            )
            assert not Path("runs").exists()
        else:
            assert record.state == "FINISHED"

    def test_other_data_under_the_same_settings_is_not_taken_for_the_same_run(self) -> None:
        record = run("tiny.yaml", UNTRACKED)
        folder_of(record).write_record(record.model_copy(update={"data_checksum": "0" * 64}))
        with pytest.raises(UserError, match=r"holds this run on other data \(checksum 000000000000, now"):
            run("tiny.yaml", UNTRACKED)

    def test_two_processes_do_not_work_in_one_folder(self) -> None:
        record = run("tiny.yaml", UNTRACKED)
        with (
            folder_of(record).lock(),
            pytest.raises(UserError, match="is working on this run; wait for it or stop it"),
        ):
            run("tiny.yaml", UNTRACKED, again=True)


class TestResume:
    def test_an_interrupted_run_continues_to_the_same_end(self, workspace: Path) -> None:
        whole = run("tiny.yaml", [*UNTRACKED, "runtime.runs=whole"])
        with pytest.raises(BenchError, match="pulled the plug"):
            run("tiny.yaml", UNTRACKED, progress=PullsThePlug(at_step=9))
        record = run("tiny.yaml", UNTRACKED, resume=True)
        assert record.resumed_from_step == 8
        assert record.protocols == whole.protocols
        assert record.budget == whole.budget
        assert curve(Path("whole")) == curve(Path("runs"))
        assert weights(Path("whole")) == weights(Path("runs"))

    def test_a_checkpoint_of_other_data_is_refused(self, workspace: Path) -> None:
        with pytest.raises(BenchError, match="pulled the plug"):
            run("tiny.yaml", UNTRACKED, progress=PullsThePlug(at_step=9))
        (newest,) = [*Path("runs").glob("*/checkpoints/step-*8.pt")]
        checkpoint = torch.load(newest, weights_only=True)
        Checkpoints(newest.parent, kept=1).save({**checkpoint, "data_checksum": "0" * 64})
        with pytest.raises(
            UserError, match=r"its checkpoint was trained on other data \(checksum 000000000000"
        ):
            run("tiny.yaml", UNTRACKED, resume=True)

    def test_a_resumed_run_adds_up_the_time_of_its_attempts(self, workspace: Path) -> None:
        with pytest.raises(BenchError, match="pulled the plug"):
            run("tiny.yaml", UNTRACKED, progress=PullsThePlug(at_step=12))
        record = run("tiny.yaml", UNTRACKED, resume=True)
        assert record.timing.parts_s["forward"] > 0
        assert record.timing.wall_s > sum(record.timing.parts_s.values())
        assert 0 < record.timing.images_per_s < 1e6

    def test_lost_metrics_are_not_filled_with_zeros(self, workspace: Path) -> None:
        with pytest.raises(BenchError, match="pulled the plug"):
            run("tiny.yaml", UNTRACKED, progress=PullsThePlug(at_step=9))
        next(Path("runs").glob("*/metrics.jsonl")).unlink()
        record = run("tiny.yaml", UNTRACKED, resume=True)
        assert [line.step for line in read_metrics(folder_of(record).metrics)][-1] == 12

    def test_without_resume_an_unfinished_run_is_not_overwritten(self, workspace: Path) -> None:
        with pytest.raises(BenchError, match="pulled the plug"):
            run("tiny.yaml", UNTRACKED, progress=PullsThePlug(at_step=9))
        with pytest.raises(
            UserError, match="holds an unfinished run; continue it with --resume, or start it anew"
        ):
            run("tiny.yaml", UNTRACKED)
        assert run("tiny.yaml", UNTRACKED, again=True).resumed_from_step is None

    def test_resume_starts_when_there_is_nothing_to_continue(self, workspace: Path) -> None:
        assert run("tiny.yaml", UNTRACKED, resume=True).resumed_from_step is None


class PullsThePlug:
    def __init__(self, at_step: int) -> None:
        self._at_step = at_step

    def stage(self, text: str) -> None: ...

    def note(self, text: str) -> None: ...

    def step(self, step: int, total_steps: int, images_per_s: float, loss: float) -> None:
        if step == self._at_step:
            raise BenchError("pulled the plug")

    def validation(self, step: int, metrics: object) -> None: ...


def curve(runs: Path) -> list[tuple[int, dict[str, float]]]:
    (folder,) = runs.iterdir()
    lines = read_metrics(RunFolder(folder).metrics)
    return [
        (line.step, {name: value for name, value in line.metrics.items() if name != "train/images_per_s"})
        for line in lines
    ]


def weights(runs: Path) -> dict[str, list[float]]:
    (folder,) = runs.iterdir()
    newest = sorted((folder / "checkpoints").glob("*.pt"))[-1]
    learner = torch.load(newest, weights_only=True)["learner"]
    return {
        name: value.flatten().tolist() for name, value in {**learner["backbone"], **learner["loss"]}.items()
    }


class TestCommand:
    def test_one_run_prints_its_figures_and_where_to_look(self, bench_command: Bench) -> None:
        ended = bench_command("run", "tiny.yaml", "tracking.enabled=false")
        assert ended.code == 0, ended.err
        record = json.loads(next(Path("runs").glob("tiny-*/record.json")).read_text())
        accuracy = record["protocols"]["rendered"]["metrics"]["accuracy"]
        assert f"{100 * accuracy:.2f} %" in ended.out
        assert "rendered: 10 folds, 80 pairs, sqeuclidean" in ended.out
        assert "they are not LFW figures" in ended.out
        assert "records, pairs and figures: runs/tiny-" in ended.out

    def test_seeds_run_in_processes_of_their_own_and_are_summed_up(self, bench_command: Bench) -> None:
        ended = bench_command(
            "run",
            "tiny.yaml",
            "tracking.enabled=false",
            "train.max_steps=3",
            "--seeds",
            "2",
            "--workers",
            "2",
        )
        assert ended.code == 0, ended.err
        assert "mean ± standard deviation over seeds" in ended.out
        assert sorted(path.name.rpartition("-")[2] for path in Path("runs").iterdir()) == ["s0", "s1"]

    def test_a_run_in_a_worker_is_the_run_at_home(self, bench_command: Bench) -> None:
        at_home = run("tiny.yaml", [*UNTRACKED, "runtime.runs=home"])
        other = bench_command(
            "run", "tiny.yaml", *UNTRACKED, "runtime.threads=1", "--seeds", "2", "--workers", "2"
        )
        assert other.code == 0, other.err
        (path,) = Path("runs").glob("tiny-*-s0")
        record = RunFolder(path).record()
        assert record is not None
        assert record.protocols == at_home.protocols

    def test_one_failing_run_does_not_take_the_others_with_it(self, bench_command: Bench) -> None:
        Path("bad.yaml").write_text("extends: tiny.yaml\noptimizer: {name: sgd, learning_rate: 1e30}\n")
        ended = bench_command("run", "bad.yaml", "tiny.yaml", *UNTRACKED)
        assert ended.code == 1
        assert "bad s0: step" in ended.err
        assert "tiny s0" in ended.out

    def test_the_same_run_twice_is_refused(self, bench_command: Bench) -> None:
        ended = bench_command("run", "tiny.yaml", "tiny.yaml")
        assert ended.code == 2
        assert ended.err == "tiny.yaml: is the same run as tiny.yaml (settings and seed)\n"

    def test_without_a_configuration_the_message_says_what_to_do(self, bench_command: Bench) -> None:
        ended = bench_command("run", "loss.factor=1")
        assert ended.code == 2
        assert ended.err.startswith("name a configuration, e.g. 'bench run center'")

    def test_problems_of_a_configuration_are_lines_with_exit_code_2(self, bench_command: Bench) -> None:
        Path("wrong.yaml").write_text(
            "extends: tiny.yaml\nloss: {name: center, facter: 1}\ntrain: {epochs: yes}\n"
        )
        ended = bench_command("run", "wrong.yaml")
        assert ended.code == 2
        assert ended.err.splitlines()[0] == "wrong.yaml:2: loss.facter: unknown key; did you mean 'factor'?"
        assert len(ended.err.splitlines()) == 2
        assert not Path("runs").exists()

    def test_equal_settings_under_two_names_are_two_rows(self, bench_command: Bench) -> None:
        Path("other.yaml").write_text(Path("tiny.yaml").read_text())
        ended = bench_command("run", "tiny.yaml", "other.yaml", *UNTRACKED, "train.max_steps=2")
        assert ended.code == 0, ended.err
        assert "tiny s0" in ended.out
        assert "other s0" in ended.out

    def test_a_worker_settles_only_what_the_configuration_leaves_open(self, bench_command: Bench) -> None:
        Path("open.yaml").write_text("extends: tiny.yaml\nruntime: {threads: auto}\n")
        options = (*UNTRACKED, "train.max_steps=1", "--seeds", "2", "--workers", "2")
        assert bench_command("run", "open.yaml", *options).code == 0
        assert bench_command("run", "tiny.yaml", *options, "runtime.threads=2").code == 0
        threads = {
            path.parent.name.split("-")[0]: json.loads(path.read_text())["threads"]
            for path in Path("runs").glob("*/environment.json")
        }
        assert threads == {"open": max(1, usable_cpus() // 2), "tiny": 2}

    def test_again_and_resume_exclude_each_other(self, bench_command: Bench) -> None:
        ended = bench_command("run", "tiny.yaml", "--again", "--resume")
        assert (ended.code, ended.err.splitlines()[-1]) == (
            2,
            "--again starts anew and --resume continues: choose one of them",
        )
        assert not Path("runs").exists()

    @pytest.mark.parametrize(
        ("overrides", "said"),
        [
            (["batch.size=1"], "batch: one image a batch, but backbone small normalises over batches"),
            (
                ["backbone={name: inception_resnet_v1, embedding_dim: 16}"],
                "backbone.name: inception_resnet_v1 does not take images of 32 px (",
            ),
            (["runtime.runs=tiny.yaml"], "runtime.runs: tiny.yaml/tiny-"),
            (["evaluate.fars=[1.0]"], "evaluate.fars.0: must be > 0 and < 1, got 1.0 (command line)"),
            (["train.epochs=1e308"], "train.epochs: 1e+308 epochs of 4 steps would never end"),
            (["evaluate.fars=[0.1, 0.1]"], "evaluate.fars: must name each rate once"),
            (["loss={name: cross_batch_memory, loss: {name: softmax}}"], "loss: cross_batch_memory: "),
        ],
    )
    def test_what_cannot_work_is_one_line_with_exit_code_2(
        self, bench_command: Bench, overrides: list[str], said: str
    ) -> None:
        ended = bench_command("run", "tiny.yaml", *UNTRACKED, *overrides)
        assert ended.code == 2
        assert ended.err.splitlines()[-1].startswith(said)
        assert not Path("runs").exists()

    def test_a_narrow_terminal_gets_whole_figures_and_is_told_what_is_missing(
        self, bench_command: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("rich.console.Console.is_terminal", property(lambda self: True))
        monkeypatch.setenv("COLUMNS", "60")
        ended = bench_command("run", "tiny.yaml", *UNTRACKED)
        assert ended.code == 0, ended.err
        assert "left out for want of width: " in ended.out
        assert "…" not in ended.out
