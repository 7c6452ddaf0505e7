"""A study on a Ray cluster of several nodes, one of which dies; in a network of its own, with loopback only.

Ray binds the machine's address even when told 127.0.0.1, which tests must not.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

STUDY = """\
data: {name: rendered, identities: 12, images_per_identity: 6, size_px: 32,
       test_pairs: 4, validation_pairs: 3}
backbone: {name: small, embedding_dim: 16, width: 8}
loss: {name: center, factor: 0.01}
batch: {name: random, size: 36}
optimizer: {name: adamw, learning_rate: 1e-3}
schedule: {name: cosine}
train: {epochs: 60, log_every: 7}
evaluate: {every_epochs: 20}
runtime: {threads: 1, checkpoint_every_s: 0.3}
search:
  loss.factor: {float: [1e-3, 0.3], log: true}
objective: {metric: validation/accuracy}
study: {trials: 4}
"""

pytestmark = pytest.mark.timeout(1500)  # a cluster, on a machine that may be busy with other things

Nodes = list[dict[str, int]]


class RayCluster:
    """Nodes in a network namespace, and commands on the first of them."""

    def __init__(self, nodes: Nodes) -> None:
        script = Path(__file__).with_name("ray_cluster.py")
        inside = ["sh", "-c", 'ip link set lo up && exec "$@"', "sh", sys.executable, str(script)]
        self._process = subprocess.Popen(
            ["unshare", "--net", *inside, *map(json.dumps, nodes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=_environment(),
        )
        self._commands: list[subprocess.Popen[str]] = []
        self.address = self._answer().removeprefix("address ")

    def bench(self, *arguments: str) -> subprocess.Popen[str]:
        """`bench` on the head node."""
        inside = ["nsenter", "--target", str(self._process.pid), "--net", sys.executable, "-m", "bench"]
        process = subprocess.Popen(
            [*inside, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env=_environment() | {"RAY_ADDRESS": self.address},
        )
        self._commands.append(process)
        return process

    def order(self, line: str) -> None:
        """See ray_cluster.py."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        assert self._answer() == "done"

    def close(self) -> None:
        for process in self._commands:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        try:
            self._process.communicate(timeout=60)  # the end of its orders
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.communicate()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(("address ", "done")):
                return line.strip()
        raise AssertionError("no Ray cluster")


def _environment() -> dict[str, str]:
    # No reports to Ray's makers; and by itself Ray has its workers wait for whatever else the machine does.
    return os.environ | {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_worker_niceness": "0",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }


@pytest.fixture
def ray_cluster() -> Iterator[Callable[[Nodes], RayCluster]]:
    pytest.importorskip("ray", reason="needs Ray (the extra 'ray')")
    for program in ("unshare", "nsenter", "ip"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}, as in: apt-get install util-linux iproute2")
    if subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs the right to make a network namespace (unshare --net), as root has it")
    started: list[RayCluster] = []

    def start(nodes: Nodes) -> RayCluster:
        started.append(RayCluster(nodes))
        return started[-1]

    yield start
    for cluster in started:
        cluster.close()


@pytest.fixture
def study(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path_factory.getbasetemp() / "study-cache"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    Path("spread.yaml").write_text(STUDY)
    return tmp_path


def trials(uri: str, name: str) -> list[Any]:
    import optuna

    from bench.study.storage import open_place

    with open_place(uri, Path(), print) as place:
        if name not in optuna.get_all_study_names(place.storage):
            return []
        return optuna.load_study(study_name=name, storage=place.storage).get_trials(deepcopy=False)


def wait_until(condition: Callable[[], Any], process: subprocess.Popen[str]) -> Any:
    deadline = time.monotonic() + 400
    while not (found := condition()):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise AssertionError(f"ended, or too late:\n{process.communicate()[0]}")
        time.sleep(0.2)
    return found


def running_with_checkpoint(name: str) -> list[Path]:
    """Run folders of trials that train and have something to go on from."""
    return [
        checkpoint.parents[1]
        for checkpoint in Path(f"runs/studies/{name}/trials").glob("*/*/checkpoints/step-*.json")
        if json.loads((checkpoint.parents[1] / "state.json").read_text())["state"] == "RUNNING"
    ]


def check_outcome(uri: str, name: str, num_trials: int) -> None:
    """Exactly N finished, none at work or waiting, and MLflow says the same of every trial."""
    found = trials(uri, name)
    assert Counter(trial.state.name for trial in found) == {"COMPLETE": num_trials}
    from bench.tracking.politeness import polite_mlflow

    with polite_mlflow():
        from mlflow import MlflowClient

        client = MlflowClient(f"sqlite:///{Path.cwd() / 'mlflow.db'}")
        experiment = client.get_experiment_by_name("faceloss-bench")
        assert experiment is not None
        runs = client.search_runs([experiment.experiment_id])
    (parent,) = [run for run in runs if "trial_number" not in run.data.tags]
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["trials_complete"] == str(num_trials)
    children = [run for run in runs if run is not parent]
    assert sorted(int(run.data.tags["trial_number"]) for run in children) == list(range(num_trials))
    for run in children:
        assert run.info.status == "FINISHED"
        assert run.data.tags["trial_state"] == "COMPLETE"
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        trial = found[int(run.data.tags["trial_number"])]
        assert run.data.metrics["validation/accuracy"] == trial.values[0]
        points = client.get_metric_history(run.info.run_id, "validation/accuracy")
        assert [point.step for point in points] == [40, 80, 120]
        assert {point.step: point.value for point in points} == {
            40 * number: value for number, value in trial.intermediate_values.items()
        }


def test_a_study_survives_the_death_of_a_node_and_ctrl_c(
    study: Path, postgres: Any, ray_cluster: Callable[[Nodes], RayCluster]
) -> None:
    uri = postgres.socket_uri
    cluster = ray_cluster([{"num_cpus": 1}, {"num_cpus": 1}])
    command = ("study", "spread.yaml", "--launcher", "ray", "--workers", "auto", "--storage", uri)
    process = cluster.bench(*command)
    wait_until(lambda: running_with_checkpoint("spread"), process)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 130, output
    assert "RUNNING" not in [trial.state.name for trial in trials(uri, "spread")]

    process = cluster.bench(*command)
    wait_until(lambda: len(running_with_checkpoint("spread")) == 2, process)
    cluster.order("remove 1")
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    assert "lost: NodeDiedError: Task failed because the node it was running on is dead" in output
    assert "continuing after step" in output
    assert "spread: 4 trials finished (0 of them pruned), 0 failed" in output
    assert [trial.number for trial in trials(uri, "spread")] == list(range(4))
    check_outcome(uri, "spread", 4)
    assert not Path("runs/studies/spread/ray.token").exists()


def test_several_processes_train_a_trial_on_several_gpus_and_no_more_workers_than_fit(
    study: Path, postgres: Any, ray_cluster: Callable[[Nodes], RayCluster]
) -> None:
    uri = postgres.socket_uri
    cluster = ray_cluster([{"num_cpus": 2, "num_gpus": 2}])
    command = ("study", "spread.yaml", "--launcher", "ray", "--storage", uri)

    process = cluster.bench(*command, "--workers", "5", "name=half", "study.gpus_per_trial=0.5")
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 2
    assert output.splitlines()[-1] == (  # before it, Ray's that it has no way out of the loopback
        "--workers 5: a trial takes 0.5 GPUs and 1 CPUs, so the cluster has room for 2 at a time"
    )

    process = cluster.bench(
        *command, "--workers", "auto", "name=two", "study.gpus_per_trial=2", "--trials", "2"
    )
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    check_outcome(uri, "two", 2)
    for record in Path("runs/studies/two/trials").glob("*/*/record.json"):
        assert json.loads(record.read_text())["environment"]["processes"] == 2
