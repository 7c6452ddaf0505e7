"""One attempt at a run: from an empty folder or a checkpoint to a record, whatever happens in between."""

from __future__ import annotations

import contextlib
import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from bench.build import augmentation, batch_norm_images, preprocess
from bench.checkpoint import Checkpoints
from bench.config import RunConfig
from bench.data import Data, PairProtocol
from bench.data.pair_sheet import save_hardest_pairs
from bench.device import device_name, peak_memory_mib
from bench.distributed import ALONE, World
from bench.errors import BenchError, Killed, Pruned, UserError
from bench.evaluate import Evaluation, evaluate_learner, protocol_record, thresholds_document
from bench.follow import Begin, Over, Stop
from bench.interrupts import Interrupts
from bench.learner import Learner
from bench.progress import Progress
from bench.results import (
    Budget,
    Environment,
    MetricsWriter,
    RunFolder,
    RunRecord,
    State,
    Thresholds,
    Timing,
    atomic_file,
    code_version,
    cpu_name,
    new_state,
    now,
    package_versions,
    suppress_full_disk,
    write_json,
    write_text,
)
from bench.schedules import Schedule
from bench.timing import Clock
from bench.trace import traced
from bench.train import Length, Outside, Recipe, length_in_words, train


class Attempt:
    """Trains and evaluates in a run folder that this process has locked.

    Args:
        config: what was asked.
        data: the data set of the configuration.
        folder: of the run.
        device: to compute on.
        progress: hears how it goes.
        interrupts: tells of signals.
        world: processes that train with this one, the first; the others `follow`.
        test: also find thresholds and evaluate the test protocols, once trained.
        profile: write a trace of a few steps.
    """

    def __init__(
        self,
        config: RunConfig,
        data: Data,
        folder: RunFolder,
        device: torch.device,
        progress: Progress,
        interrupts: Interrupts,
        world: World = ALONE,
        *,
        test: bool = True,
        profile: bool = False,
    ) -> None:
        self._trace = folder.trace if profile else None
        self._world = world
        self._others_wait = True
        self._is_tested = test
        self._config = config
        self._data = data
        self._folder = folder
        self._device = device
        self._progress = progress
        self._interrupts = interrupts
        self._clock = Clock(names_parts=profile)
        self._checkpoints = Checkpoints(folder.checkpoints, kept=config.runtime.checkpoints_kept)
        self._state = new_state(config.name, config.hash, config.seed)
        self._resumed_from: int | None = None
        self._code = code_version()

    @contextmanager
    def heard_by_others(self) -> Iterator[None]:
        """An error in the block before training begins ends the processes that wait to hear of it, too."""
        try:
            yield
        except BaseException as error:
            if self._others_wait:
                _, message = _ending(error)
                code = error.exit_code if isinstance(error, BenchError) else 1
                self.tell(Stop(message, code))
            raise

    def tell(self, order: Begin | Over | Stop) -> None:
        """Tell the other processes of this run how to go on; they wait for it at their beginning and end."""
        self._others_wait = False
        self._world.tell(order)

    def begin(self, learner: Learner, *, starts: bool) -> None:
        """Open the folder: RUNNING from here on.

        Args:
            learner: starts, or continues from the newest checkpoint.
            starts: which of the two.

        Raises:
            UserError: the checkpoint is of other data; none is whole.
        """
        checkpoint = None if starts else self._checkpoints.load(self._device)
        if checkpoint is None and not starts:
            raise UserError(f"{self._folder.path}: its checkpoints have just been removed; start again")
        if checkpoint is not None:
            self._refuse_other_data(checkpoint["data_checksum"])
            learner.load_state_dict(checkpoint["learner"])
            self._resumed_from = learner.step
            self._clock.load_state_dict(checkpoint["clock"])
            self._checkpoints.sweep()
            self._checkpoints.drop_best_after(learner.step)
            self._keep_best(learner)  # a kill may have come between the checkpoint and this
        # In the tracking store a killed attempt goes on, even from its start; one that has ended stays.
        is_new = checkpoint is None and self._earlier_state() != "KILLED"
        self._folder.clear(checkpoint=checkpoint is None, identity=is_new)
        if checkpoint is not None:
            self._progress.note(f"continuing after step {learner.step}")
        write_text(self._folder.config, self._config.to_yaml())
        facts = {
            **self._environment(learner).model_dump(),
            "data_checksum": self._data.checksum,
            **self._code.model_dump(),
        }
        write_json(self._folder.environment, facts)
        self._write_state(durable_bytes=checkpoint["metrics_bytes"] if checkpoint else 0)
        state = checkpoint["learner"] if checkpoint is not None and self._world.size > 1 else None
        self.tell(Begin.of(state))

    def finish(self, learner: Learner, schedule: Schedule, length: Length) -> RunRecord:
        """Train and evaluate; the folder says FINISHED, FAILED or KILLED afterwards."""
        try:
            self._train(learner, schedule, length)
            tested_step = self._choose_weights(learner)
            # without test pairs, too: who trains on photos of their own verifies at these
            thresholds = self._find_thresholds(learner) if self._is_tested else None
            tests = self._data.tests if self._is_tested else ()
            evaluations = [self._test(learner, protocol) for protocol in tests]
            with self._interrupts.held():
                if thresholds is not None:
                    thresholds.write(self._folder.thresholds)
                self._write_artifacts(evaluations)
                record = self._record("FINISHED", learner, length, evaluations)
                record = record.model_copy(update={"tested_step": tested_step})
                self._folder.write_record(record)
                self._write_state(state="FINISHED", ended_at=now())
                self.tell(Over(record.model_dump_json()))
            return record
        except BaseException as error:
            with self._interrupts.held():
                lost = self._world.lost(error)
                state, message = _ending(lost or error)
                with suppress_full_disk():  # the first error is the one to report
                    self._write_state(state=state, ended_at=now(), error=message)
                    self._folder.write_record(self._record(state, learner, length, [], message))
            if lost is not None:
                raise lost from error
            raise

    def _earlier_state(self) -> State | None:
        try:
            earlier = self._folder.state()
        except UserError:  # damaged: about to be written anew
            return None
        if earlier is not None and earlier.state == "RUNNING":
            return "KILLED"  # this process holds the lock, so that one is gone
        return earlier.state if earlier else None

    def _refuse_other_data(self, checksum: str) -> None:
        if checksum != self._data.checksum:
            raise UserError(
                f"{self._folder.path}: its checkpoint was trained on other data (checksum {checksum[:12]}, "
                f"now {self._data.checksum[:12]}); start anew with --again"
            )

    def _train(self, learner: Learner, schedule: Schedule, length: Length) -> None:
        writer = MetricsWriter(self._folder.metrics, keep=self._state.durable_bytes)

        def validate() -> Mapping[str, float]:
            figures = self._evaluate(learner, self._data.validation).verification.metrics
            return {f"validation/{name}": value for name, value in figures.items()}

        def save() -> None:
            durable = writer.sync()
            self._checkpoints.save(
                {
                    "step": learner.step,
                    "learner": learner.state_dict(),
                    "config": self._config.to_yaml(),
                    "tested": self._config.evaluate.weights,
                    "metrics_bytes": durable,
                    "data_checksum": self._data.checksum,
                    "size_px": self._data.size_px,
                    "clock": self._clock.state_dict(),
                }
            )
            self._keep_best(learner)
            self._write_state(durable_bytes=durable)

        self._progress.stage(f"training {length_in_words(self._config, length)} on {self._device}")
        recipe = Recipe(
            self._data.train,
            augmentation(self._config),
            preprocess(self._config),
            schedule,
            length,
            self._config,
            self._device,
            learner.world,
        )
        with contextlib.closing(writer), traced(self._trace) as stepped:
            outside = Outside(validate, save, writer, self._progress, self._interrupts, self._clock, stepped)
            train(learner, recipe, outside)

    def _keep_best(self, learner: Learner) -> None:
        if learner.best is not None and learner.best.step == learner.step:
            self._checkpoints.keep_best(learner.step)

    def _choose_weights(self, learner: Learner) -> int:
        """See that the learner holds the weights that the test is about; returns their step."""
        if self._config.evaluate.weights == "last":
            return learner.step
        checkpoint = self._checkpoints.load_best(self._device)
        if learner.best is None or checkpoint is None or checkpoint["step"] != learner.best.step:
            reason = "is gone or damaged" if learner.best else "does not exist: no validation gave a number"
            raise BenchError(
                f"{self._folder.checkpoints}: the best checkpoint by {self._config.evaluate.best} {reason}; "
                "set evaluate.weights=last"
            )
        best = checkpoint["learner"]
        weights = best["ema"] or best["backbone"]
        learner.evaluated.load_state_dict(weights)
        if self._world.size > 1:
            self._world.tell(Begin.of(weights))
        return learner.best.step

    def _test(self, learner: Learner, protocol: PairProtocol) -> Evaluation:
        self._progress.stage(f"evaluating {protocol.name}: {len(protocol)} pairs")
        with self._clock.part("test"):
            return self._evaluate(learner, protocol)

    def _find_thresholds(self, learner: Learner) -> Thresholds:
        """Of the weights that are tested, from validation pairs: the test may choose no threshold."""
        self._progress.stage("choosing thresholds on the validation pairs")
        with self._clock.part("thresholds"):
            return thresholds_document(
                self._evaluate(learner, self._data.validation),
                self._config.evaluate,
                source=f"{self._data.name}/validation",
                size_px=self._data.size_px,
                preprocess=preprocess(self._config),
                alignment=self._data.alignment,
            )

    def _evaluate(self, learner: Learner, protocol: PairProtocol) -> Evaluation:
        return evaluate_learner(
            learner,
            protocol,
            self._config,
            preprocess=preprocess(self._config),
            check=learner.shards.checking(self._interrupts.check),
        )

    def _record(
        self,
        state: State,
        learner: Learner,
        length: Length,
        evaluations: Sequence[Evaluation],
        error: str | None = None,
    ) -> RunRecord:
        parts = dict(self._clock.parts_s)
        training_s = sum(
            parts.get(part, 0.0) for part in ("data", "forward", "loss", "backward", "optimizer")
        )
        return RunRecord(
            name=self._config.name,
            description=self._config.description,
            config_hash=self._config.hash,
            seed=self._config.seed,
            data_name=self._data.name,
            data_checksum=self._data.checksum,
            data_audit=self._data.audit,
            data_notes=self._data.notes,
            alignment=self._data.alignment,
            test_alignment={test.name: test.alignment for test in self._data.tests if test.alignment},
            state=state,
            error=error,
            started_at=self._state.started_at,
            ended_at=now(),
            config=json.loads(json.dumps(self._config.tree())),  # lists, as a record read back has them
            num_parameters=learner.num_parameters,
            budget=Budget(
                images=learner.images,
                images_forward_only=learner.images_forward_only,
                steps=learner.step,
                epochs=learner.step / length.epoch_steps,
            ),
            timing=Timing(
                wall_s=self._clock.wall_s,
                parts_s=parts,
                images_per_s=learner.images / training_s if training_s else 0.0,
            ),
            environment=self._environment(learner),
            code=self._code,
            resumed_from_step=self._resumed_from,
            init=learner.warm_start,
            best=learner.best,
            validation=learner.validation,
            protocols={
                evaluation.protocol.name: protocol_record(evaluation, self._config.evaluate)
                for evaluation in evaluations
            },
        )

    def _environment(self, learner: Learner) -> Environment:
        runtime, has_gpu = self._config.runtime, self._device.type == "cuda"
        return Environment(
            python=platform.python_version(),
            platform=platform.platform(),
            cpu=cpu_name(),
            device=str(self._device),
            device_name=device_name(self._device),
            threads=torch.get_num_threads(),
            processes=self._world.size,
            packages=package_versions(),
            peak_memory_mib=peak_memory_mib(self._device),
            tf32=runtime.tf32 if has_gpu else None,
            cudnn_benchmark=runtime.cudnn_benchmark if has_gpu else None,
            deterministic=runtime.deterministic,
            activation_checkpointing=runtime.activation_checkpointing,
            batch_norm_images=batch_norm_images(
                learner.backbone, self._config, learner.source.size, self._world
            ),
        )

    def _write_artifacts(self, evaluations: Sequence[Evaluation]) -> None:
        if not evaluations:
            return
        from reports.figures import save_distance_histogram, save_roc  # matplotlib: not before the first step

        self._folder.figures.mkdir(exist_ok=True)
        arrays: dict[str, Any] = {}
        for evaluation in evaluations:
            protocol, distances = evaluation.protocol, evaluation.test_distances
            arrays[f"{protocol.name}/distances"] = distances
            arrays[f"{protocol.name}/same"] = protocol.same
            arrays[f"{protocol.name}/fold"] = protocol.fold
            arrays[f"{protocol.name}/left"] = protocol.left
            arrays[f"{protocol.name}/right"] = protocol.right
            title = f"{self._config.name}, seed {self._config.seed}: {protocol.name}"
            save_roc(self._folder.figures / f"{protocol.name}_roc.png", distances, protocol.same, title=title)
            save_distance_histogram(
                self._folder.figures / f"{protocol.name}_distances.png",
                distances,
                protocol.same,
                threshold=evaluation.verification.metrics["best_threshold"],
                title=title,
            )
            save_hardest_pairs(
                self._folder.figures / f"{protocol.name}_hardest.png",
                protocol,
                distances,
                threshold=evaluation.verification.metrics["best_threshold"],
            )
        with atomic_file(self._folder.pairs) as stream:
            np.savez_compressed(stream, **arrays)

    def _write_state(self, **changes: Any) -> None:
        self._state = self._state.model_copy(update=changes)
        self._folder.write_state(self._state)


def _ending(error: BaseException) -> tuple[State, str]:
    if isinstance(error, Pruned):
        return "KILLED", error.reason
    if isinstance(error, Killed | KeyboardInterrupt):
        return "KILLED", f"{str(error) or 'SIGINT'} received"
    if isinstance(error, BenchError):
        return "FAILED", str(error)
    return "FAILED", f"{type(error).__name__}: {error}"
