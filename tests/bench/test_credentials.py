"""User and password of an address reach nothing that is printed, logged or written by any command."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from .conftest import Bench

USER, PASSWORD, TOKEN = "ada.l0velace", "pa55-w0rd@home", "t0ken-4711"
SECRETS = (USER, PASSWORD, TOKEN, "pa55-w0rd%40home", "home@")
# nobody listens at port 9 of this machine
SERVER = f"http://{USER}:{PASSWORD}@127.0.0.1:9/?token={TOKEN}"
DATABASE = f"postgresql+psycopg://{USER}:{PASSWORD}@127.0.0.1:9/mlflow?password={TOKEN}&connect_timeout=1"
STUDY = """\
extends: tiny.yaml
search:
  loss.factor: {float: [1e-3, 0.3], log: true}
objective: {metric: validation/accuracy}
study: {trials: 1}
"""
COMMANDS = {
    "check": ("check", "tiny.yaml", f"tracking.uri={SERVER}", "--explain"),
    "a run": ("run", "tiny.yaml", f"tracking.uri={SERVER}", "train.max_steps=2"),
    "a run that fails": (
        "run",
        "tiny.yaml",
        f"tracking.uri={SERVER}",
        "optimizer={name: sgd, learning_rate: 1e30}",
    ),
    "another run of it": ("run", "tiny.yaml", f"tracking.uri={SERVER}", "train.max_steps=2", "--again"),
    "a malformed address": ("run", "tiny.yaml", f"tracking.uri=postgre://{USER}:{PASSWORD}@h/db"),
    "an address without its scheme": ("run", "tiny.yaml", f"tracking.uri={USER}:{PASSWORD}@127.0.0.1:9"),
    "an address in the wrong place": ("run", "tiny.yaml", f"tracking.url={SERVER}"),
    "an address as a number": ("run", "tiny.yaml", f"train.epochs={SERVER}"),
    "delivery later": ("track", "sync", "--uri", SERVER),
    "delivery to a database": ("track", "sync", "--uri", DATABASE),
    "as each run says": ("track", "sync"),
    "a report from a server": ("report", "--experiment", "x", "--uri", SERVER),
    "a report to it": ("report", "--dir", "runs", "--log", "--uri", SERVER),
    "a study": ("study", "study.yaml", "--storage", DATABASE, "tracking.enabled=false"),
    "a study elsewhere": ("study", "study.yaml", "--storage", SERVER),
    "its best": ("study", "best", "study", "--storage", DATABASE),
    "a worker": ("worker", "study.yaml", "--storage", DATABASE),
    "the doctor": ("doctor",),
}


@pytest.mark.slow
def test_credentials_are_nowhere(
    bench_command: Bench,
    workspace: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (workspace / "study.yaml").write_text(STUDY)
    caplog.set_level(logging.DEBUG, logger="bench")
    codes, leaks = {}, []
    for what, arguments in COMMANDS.items():
        if what == "the doctor":
            monkeypatch.setenv("MLFLOW_TRACKING_URI", SERVER)
        ended = bench_command(*arguments)
        codes[what] = ended.code
        leaks += [f"{what}: {secret}" for secret in SECRETS if secret in ended.out + ended.err]
        assert "Traceback" not in ended.err, f"{what}: {ended.err}"
    assert codes["a run"] == codes["check"] == 0, codes
    assert codes["a malformed address"] == codes["a study elsewhere"] == 2, codes
    leaks += [f"log: {secret}" for secret in SECRETS if secret in caplog.text]
    written = [path for path in workspace.rglob("*") if path.is_file()]
    assert [path for path in written if path.name == "record.json"]
    for path in written:
        content = path.read_bytes() + str(path).encode()
        leaks += [f"{path}: {secret}" for secret in SECRETS if secret.encode() in content]
    assert leaks == []
