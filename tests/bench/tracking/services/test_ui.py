"""What a person sees: the runs table in a real browser. FACELOSS_SCREENSHOTS names a folder that keeps it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from urllib.parse import quote

import pytest

from bench.tracking import deliver, prepare

from ..conftest import CONFIG

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture
def browser() -> str:
    for name in BROWSERS:
        if found := shutil.which(name):
            return found
    pytest.skip("needs a browser, as in: apt-get install chromium")


def test_runs_table_shows_the_run(make_run, server, seen_in, browser, tmp_path):
    settings = prepare(server.settings("faceloss-bench"))
    for number, name in enumerate(("softmax-11aa22bb-s0", "center-33cc44dd-s0", "triplet-55ee66ff-s0")):
        run = make_run(name)
        for step in range(1, 21):
            run.log(step + number)
        run.write_artifacts()
        run.end(("FINISHED", "KILLED", "FAILED")[number], None if number == 0 else "SIGTERM received")
        deliver(run.folder, settings)
    experiment = seen_in(settings).client.get_experiment_by_name("faceloss-bench")
    page = f"{server.uri}/#/experiments/{experiment.experiment_id}/runs?workflowType=machine_learning"

    dom = _browse(browser, tmp_path, "--dump-dom", page)
    screenshots = Path(os.environ.get("FACELOSS_SCREENSHOTS", tmp_path))
    picture = screenshots / f"mlflow-runs-{server.port}.png"
    _browse(browser, tmp_path, f"--screenshot={picture}", "--window-size=1900,900", page)

    for name in ("softmax-11aa22bb-s0", "center-33cc44dd-s0", "triplet-55ee66ff-s0"):
        assert name in dom
    assert picture.stat().st_size > 20_000


def test_compare_view_shows_two_runs_by_name_with_what_differs(make_run, server, browser, tmp_path):
    settings = prepare(server.settings("faceloss-bench"))
    ids = []
    for name, loss in (("softmax-11aa22bb-s0", "softmax"), ("triplet-55ee66ff-s0", "triplet")):
        run = make_run(name, CONFIG.replace("name: center, factor: 0.01", f"name: {loss}"))
        run.log(1)
        run.end("FINISHED")
        ids.append(deliver(run.folder, settings).run_id)
    chosen = quote(json.dumps(ids)), quote(json.dumps([_experiment(server.uri)]))
    page = f"{server.uri}/#/compare-runs?runs={chosen[0]}&experiments={chosen[1]}"

    dom = _browse(browser, tmp_path, "--dump-dom", page)
    screenshots = Path(os.environ.get("FACELOSS_SCREENSHOTS", tmp_path))
    picture = screenshots / f"mlflow-compare-{server.port}.png"
    _browse(browser, tmp_path, f"--screenshot={picture}", "--window-size=1900,1600", page)

    for text in ("softmax-11aa22bb-s0", "triplet-55ee66ff-s0", "loss.name", "rendered/accuracy"):
        assert text in dom, text
    assert picture.stat().st_size > 20_000


def _browse(browser: str, folder: Path, *arguments: str) -> str:
    command = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    command += [f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=25000", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def _experiment(uri):
    from mlflow import MlflowClient

    return MlflowClient(uri).get_experiment_by_name("faceloss-bench").experiment_id
