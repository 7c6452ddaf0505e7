"""The folder of a study: journal, trials, and what MLflow is told of the whole.

runs/studies/<name>/
    config.yaml      what was asked
    journal.log      Optuna's journal (not where --storage names a database)
    trials/0007/     trial.yaml, the configuration, and the run folder of trial 7
    state.json, metrics.jsonl, figures/, report.md, tracking.json    the study as a run of its own, for MLflow
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.config import RunConfig
from bench.config.yaml_file import Scalar
from bench.engine import run_path
from bench.errors import UserError, did_you_mean
from bench.pool import Job
from bench.results import RunFolder, State, Tags, new_state, now, write_json, write_text
from bench.results.folder import process_start
from bench.study.config import StudyConfig
from bench.study.storage import is_alive
from bench.tracking import close_abandoned

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

_KILL_AFTER_S = 30.0  # an orphan has got SIGTERM and writes its last checkpoint


class StudyFolder:
    """Paths and documents of one study.

    Args:
        config: of the study.
    """

    def __init__(self, config: StudyConfig) -> None:
        self.path = study_path(Path(config.base.runtime.runs), config.name)
        self.run = RunFolder(self.path)
        self._config = config
        self._asked_at: dict[int, float] = {}
        definition = json.dumps(config.definition(), sort_keys=True)
        digest = hashlib.sha256(definition.encode()).hexdigest()
        self._state = new_state(config.name, digest, config.settings.seed)

    def begin(self, tags: Mapping[str, str]) -> None:
        """RUNNING from here on. A study that goes on stays one run for MLflow."""
        write_text(self.run.config, self._config.to_yaml())
        earlier = self.run.state()
        if earlier is not None:
            self._state = self._state.model_copy(update={"started_at": earlier.started_at})
        self.run.write_tags(Tags(tags=dict(tags)))
        self.run.write_state(self._state)

    def note(self, trials: Sequence[FrozenTrial]) -> None:
        """The course of the study, as metrics whose step counts finished trials."""
        lines = []
        finished = [trial for trial in trials if trial.state.name in ("COMPLETE", "PRUNED")]
        best: dict[str, float] = {}
        finished.sort(key=lambda trial: (trial.datetime_complete, trial.number))
        for step, trial in enumerate(finished, 1):
            assert trial.datetime_complete is not None
            metrics: dict[str, float] = {"trial": trial.number}
            if trial.state.name == "COMPLETE":
                for objective, value in zip(self._config.objectives, trial.values, strict=True):
                    name = objective.metric.removeprefix("validation/")
                    better = max if objective.direction == "maximize" else min
                    best[name] = better(best.get(name, value), value)
                    metrics |= {f"objective/{name}": value, f"best/{name}": best[name]}
            time_ms = int(trial.datetime_complete.timestamp() * 1000)
            lines.append(json.dumps({"step": step, "time_ms": time_ms, "metrics": metrics}) + "\n")
        text = "".join(lines)
        write_text(self.run.metrics, text)
        self._state = self._state.model_copy(update={"durable_bytes": len(text.encode())})
        self.run.write_state(self._state)

    def end(self, state: State, tags: Mapping[str, str], error: str | None = None) -> None:
        """The study has ended, or been interrupted."""
        known = self.run.tags()
        self.run.write_tags(known.model_copy(update={"tags": {**known.tags, **tags}}))
        self._state = self._state.model_copy(update={"state": state, "ended_at": now(), "error": error})
        self.run.write_state(self._state)

    def job(self, number: int, values: Mapping[str, Scalar]) -> Job:
        """A trial, ready for the pool; its configuration lies in its folder.

        Raises:
            ConfigError: values that do not go together.
        """
        folder = self._trial(number)
        config = self.trial_config(number, values)
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "trial.yaml", config.to_yaml())
        return Job(
            str(folder / "trial.yaml"), (), f"trial {number}", config.hash, run_path(config), test=False
        )

    def trial_config(self, number: int, values: Mapping[str, Scalar]) -> RunConfig:
        """The configuration of a trial."""
        name = f"{self._config.name[:70]}-{number:04d}"
        return self._config.run_config(values, f"trial {number}", name=name, runs=str(self._trial(number)))

    def tell_tracking(
        self, number: int, job: Job, state: str, *, is_home: bool = True, study_run_id: str | None = None
    ) -> None:
        """What MLflow shows beside the run of a trial.

        Args:
            number: of the trial.
            job: the trial.
            state: Optuna's word for it.
            is_home: the study's own run is in this folder.
            study_run_id: of the study, if it is not, as far as known.
        """
        job.folder.mkdir(parents=True, exist_ok=True)
        tags = {"study": self._config.name, "trial_number": str(number), "trial_state": state}
        if study_run_id is not None:
            tags["mlflow.parentRunId"] = study_run_id
        parent = str(self.path.absolute()) if is_home else None
        RunFolder(job.folder).write_tags(Tags(parent=parent, tags=tags))

    def trial_runs(self) -> list[RunFolder]:
        """The run folders of the trials that have begun, by number."""
        return [RunFolder(tags.parent) for tags in sorted(self.path.glob("trials/*/*/tags.json"))]

    def settle(self, trials: Sequence[FrozenTrial]) -> list[RunFolder]:
        """Have the trials' folders say what the storage says; a kill may have come between the two.

        Returns:
            Those that said something else.
        """
        changed = []
        states = {str(trial.number): trial.state.name for trial in trials}
        for run in self.trial_runs():
            known = run.tags()
            state = states.get(known.tags.get("trial_number", ""))
            was_closed = close_abandoned(run)
            if state is not None and known.tags.get("trial_state") != state:
                run.write_tags(known.model_copy(update={"tags": {**known.tags, "trial_state": state}}))
                changed.append(run)
            elif was_closed:
                changed.append(run)
        return changed

    def note_process(self, number: int, pid: int) -> None:
        """Which process does a trial, for whoever finds it without a parent."""
        process = {"host": socket.gethostname(), "pid": pid, "process_start": process_start(pid)}
        write_json(self._trial(number) / "process.json", process)

    def still_runs(self, number: int) -> bool:
        """Whether the process of an orphaned trial is still there; it is asked to end, then made to."""
        try:
            known = json.loads((self._trial(number) / "process.json").read_text())
        except FileNotFoundError:
            return False
        if known.get("host") != socket.gethostname():  # of a folder that several machines see
            return False
        if not is_alive(known["pid"], known["process_start"]):
            return False
        if number not in self._asked_at:
            self._asked_at[number] = time.monotonic()
            os.kill(known["pid"], signal.SIGTERM)
        elif time.monotonic() - self._asked_at[number] > _KILL_AFTER_S:
            os.kill(known["pid"], signal.SIGKILL)
        return True

    def _trial(self, number: int) -> Path:
        return self.path / "trials" / f"{number:04d}"


def study_path(runs: Path, name: str) -> Path:
    """The folder of a study: `<runs>/studies/<name>`."""
    return runs / "studies" / name


def find_journal(runs: Path, name: str) -> Path:
    """The journal of a study.

    Raises:
        UserError: there is none; with the nearest name.
    """
    path = study_path(runs, name) / "journal.log"
    if not path.exists():
        known = [journal.parent.name for journal in (runs / "studies").glob("*/journal.log")]
        raise UserError(f"{path}: no such study{did_you_mean(name, known)}")
    return path
