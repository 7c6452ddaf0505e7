"""A study on a Ray cluster: workers on its nodes do the trials; this process shows them and keeps the study.

The only code that knows Ray, which decides where a worker has room and notices when one is gone. Which trial
is whose, and that none is lost or doubled, the ledger in PostgreSQL knows; so a worker, a node, or this
process may die at any time. All nodes see the run folders: a trial goes on elsewhere from its checkpoint.
"""

from __future__ import annotations

import os
import secrets
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from bench import tracking
from bench.errors import BenchError, Killed, UserError
from bench.interrupts import Interrupts
from bench.pool import Slot
from bench.progress import Progress
from bench.results import write_text
from bench.study.conduct import Conductor, Ended, Launch, Parts, standing
from bench.study.config import StudyConfig, StudySection, parse_study
from bench.study.folder import StudyFolder
from bench.study.ledger import Counts, Ledger
from bench.study.placement import Node, Share, choose_workers, num_places, share_of
from bench.study.storage import open_place, patiently

_TICK_S = 0.5
_LOOK_EVERY_S = 2.0  # at the storage, the nodes, and what can be delivered
_SEEN_WITHIN_S = 15.0  # a shared file system may show a new file late
_CLEAN_END_S = 60.0  # a trial may need half of it for its checkpoint
_STEP_EVERY_S = 1.0


@dataclass(frozen=True)
class _Order:
    """What a worker is told.

    Args:
        number: of the worker.
        study: its configuration, YAML.
        name: of the study.
        url: of the storage, with credentials.
        cwd: where relative paths of the configuration start.
        token: what the file `_token_of` holds, if the worker sees the same folder.
        slot: of its trials.
        timeout_s: begin no trial later.
    """

    number: int
    study: str
    name: str
    url: str
    cwd: str
    token: str
    slot: Slot
    timeout_s: float | None


@dataclass(frozen=True)
class _Report:
    """How a worker ended.

    Args:
        problem: why the study cannot go on, one line; None: there was nothing left to do.
        is_users: the user can mend it before anything starts.
    """

    problem: str | None = None
    is_users: bool = False


class Cluster:
    """A Ray cluster that this process has joined.

    Args:
        ray: the module.
    """

    def __init__(self, ray: Any) -> None:
        self.ray = ray
        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=False
        )
        self.news = ray.remote(_News).options(num_cpus=0, scheduling_strategy=here).remote()
        # A process of its own for each worker: what Ray says about GPUs is fixed when the first one is used.
        self._work = ray.remote(max_retries=0, max_calls=1)(_work)

    def nodes(self) -> list[Node]:
        """The machines that are alive."""
        return [
            Node(
                node["NodeManagerAddress"],
                int(node["Resources"].get("GPU", 0)),
                int(node["Resources"].get("CPU", 0)),
            )
            for node in self.ray.nodes()
            if node["Alive"]
        ]

    def start(self, order: _Order, share: Share) -> Any:
        """A worker, as soon as a node has room; the reference to its report."""
        options = self._work.options(num_cpus=share.cpus, num_gpus=share.gpus, name=f"bench {order.name}")
        return options.remote(order, self.news)


@contextmanager
def join_cluster() -> Iterator[Cluster]:
    """The cluster at RAY_ADDRESS, or the one that 'ray start' has made this machine a node of.

    Raises:
        UserError: Ray is not installed, or there is no cluster.
    """
    try:
        import ray
        import ray.util.scheduling_strategies
    except ModuleNotFoundError:
        raise UserError("--launcher ray: needs the package ray; pip install 'faceloss-bench[ray]'") from None
    address = os.environ.get("RAY_ADDRESS") or "auto"
    if address.startswith("ray://"):
        raise UserError(
            f"RAY_ADDRESS {address}: must be host:port; 'bench study' is started on a node of the cluster"
        )
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise UserError(
            f"--launcher ray: no cluster at {address} ({str(error).strip().splitlines()[0][:120]}); start "
            "one with 'ray start --head', or name another in RAY_ADDRESS"
        ) from None
    try:
        yield Cluster(ray)
    finally:
        ray.shutdown()


def on_cluster(
    cluster: Cluster,
    settings: StudySection,
    url: str,
    workers: int | Literal["auto"],
    timeout_s: float | None = None,
) -> Launch:
    """Trials on the nodes of a cluster.

    Args:
        cluster: from `join_cluster`.
        settings: of the study.
        url: of the storage, with credentials.
        workers: how many trials at a time; `auto`: as many as the nodes have room for, as they come and go.
        timeout_s: begin no trial later.

    Raises:
        UserError: no node has room for a trial, or fewer fit than were asked for.
    """
    nodes = cluster.nodes()
    share = share_of(settings, nodes)
    wanted = choose_workers(workers, nodes, share, settings.trials)
    return lambda parts: _Crew(parts, cluster, share, url, wanted, timeout_s, follows_nodes=workers == "auto")


class _Crew:
    """The workers of a study, and what is kept of it here."""

    def __init__(
        self,
        parts: Parts,
        cluster: Cluster,
        share: Share,
        url: str,
        wanted: int,
        timeout_s: float | None,
        *,
        follows_nodes: bool,
    ) -> None:
        if not parts.is_home:
            raise UserError(
                f"{parts.ledger.place.shown}: study '{parts.ledger.config.name}' was begun on another "
                "machine or in another folder; go on there, or help with 'bench worker'"
            )
        self._ledger = parts.ledger
        self._folder = parts.folder
        self._board = parts.board
        self._deliverer = parts.deliverer
        self._cluster = cluster
        self._share = share
        self._url = url
        self._wanted = wanted
        self._follows_nodes = follows_nodes
        self._timeout_s = timeout_s
        self._started_at = time.monotonic()
        self._looked_at = -_LOOK_EVERY_S
        self._token = secrets.token_hex(8)
        self._crew: dict[Any, int] = {}  # reference -> number of the worker
        self._at_work: set[int] = set()  # those that have said a word
        self._num_started = 0
        self._num_done = 0
        self._num_lost = 0  # since the last trial that finished
        self._rows: dict[str, tuple[int, Progress]] = {}
        self._watched: set[Path] = set()
        self._said: Counts | None = None
        self._has_said_full = False

    @property
    def _config(self) -> StudyConfig:
        return self._ledger.config

    def conduct(self, interrupts: Interrupts) -> Ended:
        """Until as many trials have finished as are wanted, or the time is up.

        Raises:
            Killed: a signal came; the workers have ended their trials with a checkpoint.
            UserError, BenchError: why a worker cannot go on; or too many in a row were lost.
        """
        self._interrupts = interrupts
        write_text(_token_of(self._folder), self._token)
        try:
            while True:
                interrupts.check()
                is_complete = self._look()
                if is_complete or self._is_late:
                    self._dismiss_idle()
                else:
                    self._hire()
                if not self._crew and (is_complete or self._num_done or self._is_late):
                    break
                self._hear()
                self._collect(_TICK_S)
        finally:
            self._dismiss()
            self._watch()
        self._show()
        self.link()
        counts = self._ledger.counts()
        return Ended(counts, counts.finished >= self._config.settings.trials)

    def link(self) -> None:
        """Note MLflow's ids of the runs that have been delivered meanwhile."""
        known = self._ledger.study.user_attrs
        study_id = tracking.run_id_of(self._folder.run)
        if study_id is not None and study_id != self._ledger.run_id():
            self._ledger.link_study(study_id)
        for run in self._folder.trial_runs():
            number = run.tags().tags.get("trial_number")
            run_id = tracking.run_id_of(run)
            if number is not None and run_id is not None and known.get(f"mlflow_run_id:{number}") != run_id:
                self._ledger.link(int(number), run_id)

    @property
    def _is_late(self) -> bool:
        return self._timeout_s is not None and time.monotonic() - self._started_at > self._timeout_s

    def _hire(self) -> None:
        """Workers where there is room; one that was lost is replaced, one that found no work is not."""
        while len(self._crew) + self._num_done < self._wanted:
            self._num_started += 1
            self._crew[self._cluster.start(self._order(self._num_started), self._share)] = self._num_started

    def _order(self, number: int) -> _Order:
        share, left_s = self._share, self._timeout_s
        if left_s is not None:
            left_s -= time.monotonic() - self._started_at
        threads = max(1, share.cpus // share.processes)
        slot = Slot(threads, "auto" if share.gpus else "cpu", share.processes)
        return _Order(
            number,
            self._config.to_yaml(),
            self._config.name,
            self._url,
            str(Path.cwd()),
            self._token,
            slot,
            left_s,
        )

    def _look(self) -> bool:
        """Every few seconds: show, note and deliver how the study stands; whether it has its trials."""
        trials = self._config.settings.trials
        if time.monotonic() - self._looked_at > _LOOK_EVERY_S:
            self._looked_at = time.monotonic()
            if self._follows_nodes:
                self._wanted = min(num_places(self._cluster.nodes(), self._share), trials)
            patiently(self._show, self._ledger.place.shown, self._board.note, self._interrupts.check)
            self._watch()
        return self._said is not None and self._said.finished >= trials and not self._said.running

    def _watch(self) -> None:
        if self._deliverer is not None:
            for run in self._folder.trial_runs():
                if run.path not in self._watched:
                    self._watched.add(run.path)
                    self._deliverer.watch(run)

    def _show(self) -> None:
        counts = self._ledger.counts()
        if counts == self._said:
            return
        if self._said is not None and counts.finished > self._said.finished:
            self._num_lost = 0
        self._said = counts
        known = self._ledger.study.get_trials(deepcopy=False)
        durations_s = [
            trial.duration.total_seconds()
            for trial in known
            if trial.state.name in ("COMPLETE", "PRUNED") and trial.duration is not None
        ]
        text = standing(self._ledger, counts, durations_s, len(self._at_work))
        self._board.status(f"{text}; {len(self._at_work)} workers")
        self._folder.note(known)
        self.link()

    def _hear(self) -> None:
        """What the workers have said meanwhile."""
        for number, kind, *arguments in self._ask(self._cluster.news.take):
            if kind == "ready":
                self._at_work.add(number)
                self._board.note(f"worker {number}: on {arguments[0]}")
            elif kind == "note":
                self._board.note(arguments[0])
            elif kind == "row":
                title = arguments[0]
                self._drop(title)
                self._rows[title] = (number, self._board.row(title))
            elif kind == "drop":
                self._drop(arguments[0])
            elif arguments[0] in self._rows:
                getattr(self._rows[arguments[0]][1], kind)(*arguments[1:])

    def _drop(self, title: str) -> None:
        if self._rows.pop(title, None) is not None:
            self._board.drop(title)

    def _ask(self, method: Any) -> Sequence[Any]:
        answer: Sequence[Any] = self._guarded(partial(self._cluster.ray.get, method.remote(), timeout=60))
        return answer

    def _guarded(self, act: Any) -> Any:
        try:
            return act()
        except self._cluster.ray.exceptions.RayError as error:
            raise BenchError(
                f"the Ray cluster does not answer ({_first_line(error)}); "
                "the same command continues the study"
            ) from None

    def _collect(self, timeout_s: float) -> None:
        """Workers that have ended."""
        if not self._crew:
            if not self._has_said_full:
                self._board.note("no node of the cluster has room for a trial; waiting for one")
            self._has_said_full = True
            time.sleep(timeout_s)
            return
        self._has_said_full = False
        ended, _ = self._guarded(
            partial(self._cluster.ray.wait, list(self._crew), num_returns=1, timeout=timeout_s)
        )
        for reference in ended:
            number = self._crew.pop(reference)
            self._at_work.discard(number)
            for title in [title for title, (whose, _) in self._rows.items() if whose == number]:
                self._drop(title)
            try:
                report = self._cluster.ray.get(reference)
            except Exception as error:  # the node or the process is gone, or it cannot even begin
                self._lose(number, _first_line(error))
                continue
            if report.problem is not None:
                raise (UserError if report.is_users else BenchError)(report.problem)
            self._num_done += 1

    def _lose(self, number: int, reason: str) -> None:
        self._num_lost += 1
        self._board.note(f"worker {number}: lost: {reason}; another one takes its place")
        limit = self._config.settings.failures_in_a_row
        if self._num_lost >= limit:
            raise BenchError(
                f"{limit} workers in a row were lost, the last one: {reason}; see to that, then the same "
                "command continues the study"
            )

    def _dismiss_idle(self) -> None:
        """Nobody waits for a node any more when there is nothing left to do."""
        for reference, number in list(self._crew.items()):
            if number not in self._at_work:
                self._cluster.ray.cancel(reference)
                del self._crew[reference]

    def _dismiss(self) -> None:
        """Have all workers end, their trials with a checkpoint; by force those that do not."""
        ray = self._cluster.ray
        with suppress(ray.exceptions.RayError):  # the cluster is gone, and the workers with it
            for reference in self._crew:
                ray.cancel(reference)
            if self._crew:
                _, stuck = ray.wait(list(self._crew), num_returns=len(self._crew), timeout=_CLEAN_END_S)
                for reference in stuck:
                    ray.cancel(reference, force=True)
        self._crew.clear()
        for title in list(self._rows):
            self._drop(title)
        _token_of(self._folder).unlink(missing_ok=True)


def _token_of(folder: StudyFolder) -> Path:
    """Whoever reads in it what the driver wrote sees the driver's file system."""
    return folder.path / "ray.token"


def _first_line(error: Exception) -> str:
    cause = getattr(error, "cause", None) or error
    lines = str(cause).strip().splitlines() or [""]
    text = lines[-1] if "Traceback" in str(cause) else lines[0]
    return f"{type(cause).__name__}: {text.split('. ')[0][:200]}"


class _News:
    """On the driver's node: what the workers say, until the driver takes it."""

    def __init__(self) -> None:
        self._said: list[tuple[Any, ...]] = []

    def say(self, *words: Any) -> None:
        """The number of the worker, the kind of the news, what belongs to it."""
        self._said.append(words)

    def take(self) -> list[tuple[Any, ...]]:
        """All that is new."""
        said, self._said = self._said, []
        return said


class _DistantBoard:
    """The driver's board, as a worker has it."""

    def __init__(self, number: int, news: Any) -> None:
        self._number = number
        self._news = news

    def say(self, kind: str, *arguments: Any) -> None:
        """Nobody waits for an answer: a driver that is gone disturbs no trial."""
        self._news.say.remote(self._number, kind, *arguments)

    def row(self, title: str) -> Progress:
        """A place for one trial."""
        self.say("row", title)
        return _DistantRow(title, self)

    def drop(self, title: str) -> None:
        """The trial of that title has ended."""
        self.say("drop", title)

    def note(self, text: str) -> None:
        """A line that stays."""
        self.say("note", text)

    def status(self, text: str) -> None:
        """Of the whole; the driver sees that itself."""


class _DistantRow:
    """The news of one trial; of its steps one a second."""

    def __init__(self, title: str, board: _DistantBoard) -> None:
        self._title = title
        self._board = board
        self._said_at = 0.0

    def stage(self, text: str) -> None:
        self._board.say("stage", self._title, text)

    def note(self, text: str) -> None:
        self._board.note(f"{self._title}: {text}")

    def step(self, step: int, total_steps: int, images_per_s: float, loss: float) -> None:
        if time.monotonic() - self._said_at > _STEP_EVERY_S or step == total_steps:
            self._said_at = time.monotonic()
            self._board.say("step", self._title, step, total_steps, images_per_s, loss)

    def validation(self, step: int, metrics: Mapping[str, float]) -> None:
        self._board.say("validation", self._title, step, dict(metrics))


def _work(order: _Order, news: Any) -> _Report:
    """On a node, in a process of its own: do trials until none is left. The driver's `cancel` is a SIGINT."""
    import ray

    # a trial's process would run the main program of this one anew, which is Ray's
    vars(sys.modules["__main__"]).pop("__file__", None)
    # ignored by whatever a script has started in its background, as it may have done with the node
    signal.signal(signal.SIGINT, signal.default_int_handler)
    board = _DistantBoard(order.number, news)
    node = ray.util.get_node_ip_address()
    try:
        os.chdir(order.cwd)
    except OSError:
        return _not_shared(node, order.cwd)
    try:
        config = parse_study(order.study, order.name)
        folder = StudyFolder(config)
        if not _sees(folder, order.token):
            return _not_shared(node, str(folder.path.absolute()))
        heartbeat_s = config.settings.heartbeat_s
        with (
            Interrupts() as interrupts,
            interrupts.held(),
            open_place(order.url, Path(), board.note, heartbeat_s=heartbeat_s) as place,
        ):
            ledger = Ledger(place, config, still_runs=folder.still_runs)
            board.say("ready", node)
            conductor = Conductor(
                ledger, folder, [order.slot], board, timeout_s=order.timeout_s, keeps_run=False
            )
            conductor.conduct(interrupts)
    except Killed:
        return _Report()
    except BenchError as error:
        return _Report(f"node {node}: {error}", isinstance(error, UserError))
    return _Report()


def _not_shared(node: str, path: str) -> _Report:
    return _Report(
        f"node {node}: does not see {path}: --launcher ray keeps runs where all nodes see them; start it "
        "in a folder of a shared file system, or use 'bench worker' on each machine",
        is_users=True,
    )


def _sees(folder: StudyFolder, token: str) -> bool:
    deadline = time.monotonic() + _SEEN_WITHIN_S
    while time.monotonic() < deadline:
        try:
            if _token_of(folder).read_text() == token:
                return True
        except FileNotFoundError:
            pass
        time.sleep(_TICK_S)
    return False
