"""One run: a configuration goes in; a trained model, a run folder and a record come out.

The module is not called `run`, because `from bench import run` must give the function, whatever was imported.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path

from bench import tracking
from bench.attempt import Attempt
from bench.build import build
from bench.checkpoint import Checkpoints
from bench.config import RunConfig, load_config
from bench.data import DATASETS, Data, cache_folder
from bench.device import check_precision, choose_arithmetic, choose_device, choose_threads
from bench.distributed import join_world
from bench.errors import UserError
from bench.follow import Over, follow
from bench.heap import keep_freed_memory
from bench.interrupts import Interrupts
from bench.progress import Progress, Quiet
from bench.results import RunFolder, RunRecord


def run(
    source: RunConfig | str | Path,
    overrides: Sequence[str] = (),
    *,
    resume: bool = False,
    again: bool = False,
    track: bool = True,
    test: bool = True,
    profile: bool = False,
    progress: Progress | None = None,
) -> RunRecord:
    """Train and evaluate what a configuration asks for.

    A run is its configuration, seed and data, and exists once: a finished one is not trained a second time,
    its record is returned.

    Args:
        source: a loaded configuration, a path, or the name of a shipped one ("center").
        overrides: `loss.factor=0.1` and the like.
        resume: continue an interrupted run from its last checkpoint; starts when there is none.
        again: train a finished run anew.
        track: deliver to MLflow while running; False leaves that to another process.
        test: evaluate the test protocols at the end; a search does not, for the test steers nothing.
        profile: write a trace of a few training steps, `trace.json`, into the run folder.
        progress: hears how it goes.

    Raises:
        UserError: the configuration, the data or the machine cannot do this; nothing was written.
        BenchError: the run failed; its folder and its MLflow run say FAILED.
        Killed: a signal came, or `progress` has seen enough (Pruned); both say KILLED, `resume` continues.
    """
    if isinstance(source, RunConfig) and overrides:
        raise UserError(f"overrides ({overrides[0]}) go to load_config when a loaded configuration is run")
    if again and resume:
        raise UserError("--again starts anew and --resume continues: choose one of them")
    config = source if isinstance(source, RunConfig) else load_config(source, overrides)
    progress = progress or Quiet()
    with Interrupts() as interrupts, join_world(config.runtime.timeout_s, interrupts.held) as world:
        device = choose_device(config.runtime.device, world)
        choose_threads(config.runtime.threads, world)
        if device.type == "cpu":
            keep_freed_memory()
        runtime = config.runtime
        choose_arithmetic(
            device,
            tf32=runtime.tf32,
            cudnn_benchmark=runtime.cudnn_benchmark,
            deterministic=runtime.deterministic,
        )
        check_precision(config.train.precision, device)
        progress.stage(f"data: {config.data.name}")
        data = DATASETS.build(config.data.name, {"cache": cache_folder()}, config.data.options)
        folder = RunFolder(run_path(config))
        # the first process looks: another machine may not see the folder
        starts = world.tell(_starts(folder, resume=resume, again=again) if world.is_first else None)
        learner, schedule, length = build(config, data, device, world, starts=starts)
        if not world.is_first:
            return follow(config, data, learner, schedule, length, device, interrupts, test=test)
        attempt = Attempt(
            config, data, folder, device, progress, interrupts, world, test=test, profile=profile
        )
        with attempt.heard_by_others(), folder.lock():
            if not again and (finished := finished_record(folder, data)):
                progress.stage(f"this run is finished already; its record: {folder.path / 'record.json'}")
                attempt.tell(Over(finished.model_dump_json()))
                return finished
            if not (again or resume):
                refuse_to_overwrite(folder)
            with _delivery(config, folder, progress, interrupts) if track else nullcontext():
                attempt.begin(learner, starts=starts)
                return attempt.finish(learner, schedule, length)


def _starts(folder: RunFolder, *, resume: bool, again: bool) -> bool:
    """Whether a run begins from its configuration's weights: what is resumed or only shown needs none."""
    ended = None if again else folder.record()
    is_finished = ended is not None and ended.state == "FINISHED"
    return not (is_finished or (resume and Checkpoints(folder.checkpoints, kept=1).has_any()))


def run_path(config: RunConfig) -> Path:
    """The folder of a run: `<runs>/<name>-<hash8>-s<seed>`."""
    return Path(config.runtime.runs) / f"{config.name}-{config.hash[:8]}-s{config.seed}"


def finished_record(folder: RunFolder, data: Data) -> RunRecord | None:
    """The record of a finished run on the same data, or None.

    Raises:
        UserError: the folder holds the same configuration and seed on other data.
    """
    record = folder.record()
    if record is None or record.state != "FINISHED":
        return None
    if record.data_checksum != data.checksum:
        raise UserError(
            f"{folder.path}: holds this run on other data (checksum {record.data_checksum[:12]}, now "
            f"{data.checksum[:12]}); move it away, or set runtime.runs to another folder"
        )
    return record


def refuse_to_overwrite(folder: RunFolder) -> None:
    """An unfinished run's checkpoints are work that only its owner may throw away.

    Raises:
        UserError: there are some.
    """
    if any(folder.checkpoints.glob("step-*.pt")):
        raise UserError(
            f"{folder.path}: holds an unfinished run; continue it with --resume, "
            "or start it anew with --again"
        )


def tracking_settings(config: RunConfig) -> tracking.TrackingSettings:
    """Where and how the run is tracked."""
    section = config.tracking
    return tracking.TrackingSettings(
        uri=section.uri, experiment=section.experiment, upload_checkpoint=section.upload_checkpoint
    )


@contextmanager
def _delivery(
    config: RunConfig, folder: RunFolder, progress: Progress, interrupts: Interrupts
) -> Iterator[None]:
    """Deliver while the block runs, and the rest as it ends.

    Raises:
        Killed: a signal came meanwhile. It waits for the last delivery, which has a time limit of its own:
            the tracking store would show the run as RUNNING for ever. A second signal does not wait.
    """
    if not config.tracking.enabled:
        yield
        return
    settings = tracking.prepare(tracking_settings(config), report=progress.note)
    deliverer = tracking.Deliverer(settings, report=progress.note)
    deliverer.watch(folder)
    with ExitStack() as stack:
        stack.enter_context(deliverer)
        try:
            yield
        finally:
            with interrupts.held():
                stack.close()
    interrupts.check()
