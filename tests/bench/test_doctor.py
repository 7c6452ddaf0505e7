"""Tests of `bench doctor`: every line, its remedy, and that nothing makes it wait for ever."""

from __future__ import annotations

import http.server
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from bench import doctor
from bench.errors import UserError

from .conftest import Bench


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.fixture(autouse=True)
def quick(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bf16 check starts a process that imports torch; one test has that."""
    monkeypatch.setattr("bench.device.check_bf16", lambda device: None)
    monkeypatch.delenv("FACELOSS_DATA", raising=False)
    monkeypatch.setenv("no_proxy", "*")


def findings(runs: Path = Path("runs")) -> dict[str, doctor.Finding]:
    return {finding.topic: finding for finding in doctor.examine(runs)}


def test_a_healthy_machine_is_all_ok_and_exit_code_0(bench_command: Bench, workspace: Path) -> None:
    ended = bench_command("doctor")
    lines = ended.out.splitlines()
    topics = ["versions", "device", "threads", "bf16", "tracking", "runs", "cache", "data", "extras"]
    assert [line.split()[1] for line in lines] == topics
    assert "fail" not in {line.split()[0] for line in lines}
    assert ended.code == 0
    assert f"ok    tracking  {workspace / 'mlflow.db'} (default): to be created by the first run" in lines
    assert not list(workspace.glob("mlflow*")), "looking must leave nothing behind"
    assert not Path("runs").exists()


def test_a_failure_is_exit_code_1_with_its_remedy(
    bench_command: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////nowhere/at/all.db")
    ended = bench_command("doctor")
    assert ended.code == 1
    line = (
        "fail  tracking  /nowhere/at/all.db (MLFLOW_TRACKING_URI): there is no folder /nowhere/at; create it"
    )
    assert line in ended.out.splitlines()


def test_a_wrong_tracking_address_is_the_line_that_a_run_would_end_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "htp://server:5000")
    found = findings()["tracking"]
    assert found.status == "fail"
    assert found.text.startswith(
        "MLFLOW_TRACKING_URI: htp://server:5000: 'htp' is no store that MLflow knows"
    )


def test_a_server_that_answers_is_ok_and_its_password_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    with Healthy() as port:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://anna:secret@127.0.0.1:{port}")
        found = findings()["tracking"]
    assert found == doctor.Finding(
        "ok", "tracking", f"http://***@127.0.0.1:{port} (MLFLOW_TRACKING_URI) answers"
    )


@pytest.mark.parametrize("scheme", ["http", "postgresql"])
def test_a_server_that_is_not_there_says_that_tracking_can_wait(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"{scheme}://127.0.0.1:{closed.getsockname()[1]}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    assert findings()["tracking"] == doctor.Finding(
        "fail",
        "tracking",
        f"{address} (MLFLOW_TRACKING_URI): Connection refused",
        "start it, or train all the same: 'bench track sync' delivers later",
    )


def test_a_black_hole_costs_its_time_limit_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "SERVER_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as hole:
        address = f"http://127.0.0.1:{hole.getsockname()[1]}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        found = findings()["tracking"]
    assert (found.status, found.text) == (
        "fail",
        f"{address} (MLFLOW_TRACKING_URI): no answer within 0.2 s",
    )


def test_a_check_that_hangs_is_a_finding_and_the_next_ones_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()

    def hangs() -> doctor.Finding:
        ended.wait(30)
        return doctor.Finding("ok", "device", "too late")

    monkeypatch.setattr(doctor, "LIMIT_S", 0.2)
    monkeypatch.setattr(doctor, "_device", hangs)
    for quick in ("_versions", "_threads", "_bf16", "_tracking", "_extras"):
        monkeypatch.setattr(doctor, quick, lambda: doctor.Finding("ok", "quick", ""))
    found = findings()
    ended.set()
    assert found["device"].text == "no answer within 0.2 s"
    assert found["device"].status == "fail"
    assert found["data"].status == "ok"


def test_a_database_that_is_none_is_named(workspace: Path) -> None:
    Path("mlflow.db").write_text(
        "this is a letter to my grandmother, and it is no database at all, I am afraid"
    )
    found = findings()["tracking"]
    assert (found.status, found.remedy) == ("fail", "move it away; a new one is made")
    assert found.text.endswith("mlflow.db (default): file is not a database")


def test_a_database_says_how_many_tables_it_has(workspace: Path) -> None:
    connection = sqlite3.connect("mlflow.db")
    connection.execute("create table runs (id)")
    connection.close()
    assert findings()["tracking"].text.endswith("mlflow.db (default): 1 tables")


@pytest.mark.parametrize(
    ("free_gib", "status", "remedy"),
    [
        (100, "ok", ""),
        (3, "warn", "checkpoints may not fit; set runtime.runs to another disk"),
        (0.1, "fail", "free some, or set runtime.runs to another disk"),
    ],
)
def test_little_disk_is_said_before_it_runs_out(
    monkeypatch: pytest.MonkeyPatch, free_gib: float, status: str, remedy: str
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage(0, 0, int(free_gib * 2**30)))
    found = findings()["runs"]
    assert (found.status, found.remedy) == (status, remedy)
    assert found.text == f"runs: {free_gib:.1f} GiB free"


def test_a_runs_folder_below_a_file_cannot_be_written(workspace: Path) -> None:
    found = findings(Path("tiny.yaml/runs"))["runs"]
    assert found == doctor.Finding(
        "fail", "runs", "tiny.yaml/runs: cannot be written", "set runtime.runs to another folder"
    )


def test_real_faces_are_listed_by_name(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = workspace / "faces"
    monkeypatch.setenv("FACELOSS_DATA", str(folder))
    assert findings()["data"].status == "warn"
    folder.mkdir()
    assert findings()["data"].text.endswith(f"FACELOSS_DATA: {folder} is empty")
    for index in range(10):
        (folder / f"set{index}.tar").touch()
    found = findings()["data"]
    assert found.status == "ok"
    assert found.text.endswith(f"{folder}: {', '.join(f'set{index}.tar' for index in range(8))} and 2 more")


def test_bf16_that_crashes_is_a_warning_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def crashes(device: object) -> None:
        raise UserError("train.precision: bf16: this CPU crashes; set train.precision=float32")

    monkeypatch.setattr("bench.device.check_bf16", crashes)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert findings()["bf16"] == doctor.Finding(
        "warn", "bf16", "this CPU crashes", "set train.precision=float32"
    )


def test_more_threads_than_cpus_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.device.usable_cpus", lambda: 2)
    monkeypatch.setattr("torch.get_num_threads", lambda: 8)
    found = findings()["threads"]
    assert (found.status, found.remedy) == (
        "warn",
        "set runtime.threads=2: more only wait for each other",
    )


def test_a_missing_library_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "package_versions", lambda: {"torch": "2.14.1", "timm": "not installed"})
    found = findings()["versions"]
    assert (found.status, found.remedy) == ("fail", "pip install timm")


def test_the_doctor_does_not_import_mlflow(workspace: Path) -> None:
    program = (
        "import sys\nfrom pathlib import Path\nfrom bench.doctor import examine\n"
        "print([finding.status for finding in examine(Path('runs'))])\n"
        "print([name for name in ('mlflow', 'timm', 'optuna', 'pandas') if name in sys.modules])"
    )
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[1] == "[]", f"{time.monotonic() - started:.0f} s"


class Healthy:
    """Answers OK to everything."""

    def __enter__(self) -> int:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"OK")

            def log_message(self, *arguments: Any) -> None: ...

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self._server.server_port

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
