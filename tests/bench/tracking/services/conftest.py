"""Real servers on 127.0.0.1: MLflow over SQLite, over PostgreSQL, and a browser that looks at it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.tracking import TrackingSettings

POSTGRES_PASSWORD = "s3cret"  # of a database that lives as long as the tests


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.services)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class MlflowServer:
    """`mlflow server` on a port of its own; may be killed and started again on its data."""

    def __init__(self, folder: Path, backend: str) -> None:
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        self._backend = backend
        self._process: subprocess.Popen[bytes] | None = None

    def settings(self, experiment: str) -> TrackingSettings:
        return TrackingSettings(uri=self.uri, experiment=experiment)

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--workers", "1", "--backend-store-uri", self._backend]
        command += ["--artifacts-destination", str(self._folder / "artifacts")]
        environment = os.environ | {
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # saves 1.5 GB of processes
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        environment.pop("MLFLOW_TRACKING_URI", None)
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, env=environment, cwd=self._folder, stdout=log, stderr=log, start_new_session=True
            )
        self._wait(120)

    def kill(self) -> None:
        """SIGKILL, its workers too."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(30)
            self._process = None

    def _wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            assert self._process is not None
            if self._process.poll() is not None:
                break
            try:
                with urllib.request.urlopen(f"{self.uri}/health", timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        self.kill()
        raise AssertionError(f"no MLflow server:\n{(self._folder / 'server.log').read_text()[-2000:]}")


class Postgres:
    """A PostgreSQL server of our own, as a user who is not root."""

    def __init__(self) -> None:
        self._programs = Path(os.path.realpath(_pg_ctl())).parent
        self._folder = Path(tempfile.mkdtemp(prefix="bench-postgres-"))
        self.port = free_port()
        if os.getuid() == 0:
            shutil.chown(self._folder, "postgres")
        password = self._folder / "password"
        password.write_text(POSTGRES_PASSWORD)
        password.chmod(0o644)
        self._run("initdb", "-D", str(self._folder / "data"), "-U", "bench", "-A", "scram-sha-256",
                  f"--pwfile={password}", "-E", "UTF8", "--no-sync")  # fmt: skip
        self._start()

    def restart(self) -> None:
        """As after a crash: every connection is cut."""
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-m", "immediate", "stop")
        self._start()

    @property
    def uri(self) -> str:
        return f"postgresql+psycopg://bench:{POSTGRES_PASSWORD}@127.0.0.1:{self.port}/postgres"

    def database(self, name: str) -> str:
        """The address of a database of its own: MLflow and Optuna each keep a version table of one name."""
        import psycopg

        with psycopg.connect(self.uri.replace("+psycopg", ""), autocommit=True) as connection:
            known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone()
            if known is None:
                connection.execute(f'CREATE DATABASE "{name}"')
        return self.uri.removesuffix("postgres") + name

    @property
    def socket_uri(self) -> str:
        """By a file: also from a network namespace that has no way to our 127.0.0.1."""
        return (
            f"postgresql+psycopg://bench:{POSTGRES_PASSWORD}@/postgres?host={self._folder}&port={self.port}"
        )

    def _start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self._folder} -c fsync=off"
        log = str(self._folder / "log")
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-o", options, "-l", log, "-w", "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-m", "immediate", "stop")
        shutil.rmtree(self._folder)

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), *arguments]
        if os.getuid() == 0:  # PostgreSQL refuses root
            command = ["runuser", "-u", "postgres", "--", *command]
        done = subprocess.run(
            command, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=120
        )
        assert done.returncode == 0, done.stderr.decode()


def _pg_ctl() -> str | None:
    found = shutil.which("pg_ctl")
    if found:
        return found
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
    return str(installed[-1]) if installed else None


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    pytest.importorskip("psycopg", reason="needs psycopg (the extra 'services')")
    if _pg_ctl() is None:
        pytest.skip("needs PostgreSQL (pg_ctl, initdb), as in: apt-get install postgresql")
    server = Postgres()
    yield server
    server.stop()


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MlflowServer]:
    folder = tmp_path_factory.mktemp(f"mlflow-{request.param}")
    if request.param == "postgresql":
        backend = request.getfixturevalue("postgres").database("mlflow")
    else:
        backend = f"sqlite:///{folder}/mlflow.db"
    running = MlflowServer(folder, backend)
    running.start()
    yield running
    running.kill()
