"""`bench run --profile`: a trace of a few steps in the run folder, and a table of where the time went."""

from __future__ import annotations

import json
import re
from pathlib import Path

from bench.trace import TRACED_STEPS

from .conftest import Bench

SHORT = ("tracking.enabled=false", "evaluate.every_epochs=3")


def test_a_profiled_run_leaves_a_trace_of_a_few_steps_and_a_table(bench_command: Bench) -> None:
    ended = bench_command("run", "tiny.yaml", "--profile", *SHORT, "train.epochs=4")
    assert ended.code == 0, ended.err
    (trace,) = Path("runs").glob("*/trace.json")
    names = [event.get("name") for event in json.loads(trace.read_text())["traceEvents"]]
    for part in ("data", "forward", "loss", "backward", "optimizer", "logging"):
        assert names.count(part) == TRACED_STEPS, part
        assert re.search(rf"^{part} +\d+\.\d\d +\d+\.\d%$", ended.out, re.MULTILINE), part
    assert ended.out.endswith(f"trace: {trace}\n")


def test_a_run_too_short_for_a_trace_says_so(bench_command: Bench) -> None:
    ended = bench_command("run", "tiny.yaml", "--profile", *SHORT, "train.max_steps=2")
    assert ended.out.endswith("no trace: the run was finished, or too short\n")


def test_only_one_run_is_profiled(bench_command: Bench) -> None:
    ended = bench_command("run", "tiny.yaml", "--profile", "--seeds", "2")
    assert (ended.code, ended.err) == (
        2,
        "--profile: looks at one run; name one CONFIG, without --seeds and --workers\n",
    )
