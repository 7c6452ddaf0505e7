"""What is read, and what becomes a stated gap."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.errors import UserError
from reports.records import Gap, read_runs

from .conftest import Make


def test_runs_are_read_with_their_pairs_and_curves_in_a_fixed_order(make: Make) -> None:
    make("softmax", 1)
    runs = make("center", 0)
    found = read_runs([runs])
    assert [run.title for run in found.runs] == ["center s0", "softmax s1"]
    pairs = found.runs[0].pairs("rendered")
    assert pairs is not None
    assert pairs.distances.shape == (600,)
    assert found.runs[0].pairs("lfw") is None
    assert [line.step for line in found.runs[0].curve] == [100, 200, 300]


def test_a_record_alone_is_a_run_without_pairs(make: Make, tmp_path: Path) -> None:
    runs = make("softmax")
    (tmp_path / "kept" / "records").mkdir(parents=True)
    record = next(runs.glob("*/record.json")).read_text()
    (tmp_path / "kept" / "records" / "softmax.json").write_text(record)
    (run,) = read_runs([tmp_path / "kept"]).runs
    assert run.pairs("rendered") is None
    assert run.curve == ()


def test_unfinished_and_failed_runs_are_gaps_with_their_reason(make: Make) -> None:
    make("softmax")
    make("center", 1, state="FAILED", error="loss is not finite at step 7")
    make("center", 2, state="KILLED", error="SIGTERM received")
    runs = make("center", 3, state="RUNNING")
    assert read_runs([runs]).gaps == (
        Gap("center-63656e74-dada-s1", "failed: loss is not finite at step 7"),
        Gap("center-63656e74-dada-s2", "not finished: killed: SIGTERM received"),
        Gap("center-63656e74-dada-s3", "not finished: still running"),
    )


def test_a_run_whose_process_is_gone_says_so(make: Make) -> None:
    runs = make("center", state="RUNNING")
    state = next(runs.glob("*/state.json"))
    state.write_text(json.dumps({**json.loads(state.read_text()), "process_start": 1}))
    (gap,) = read_runs([runs]).gaps
    assert gap.reason == "not finished: its process is gone; continue it with --resume"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            {"schema_version": 0},
            "its record has schema 0, this version reads 1; report it with the version that wrote it, or "
            "repeat the run",
        ),
        ({"seed": "three"}, "its record is damaged: "),
    ],
)
def test_another_schema_and_a_damaged_record_are_gaps(make: Make, change: dict, reason: str) -> None:
    runs = make("center")
    path = next(runs.glob("*/record.json"))
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    (gap,) = read_runs([runs]).gaps
    assert gap.reason.startswith(reason)
    assert "\n" not in gap.reason


def test_text_that_is_no_json_is_a_gap(make: Make) -> None:
    runs = make("center")
    next(runs.glob("*/record.json")).write_text("{")
    (gap,) = read_runs([runs]).gaps
    assert gap.reason == "its record is not JSON; repeat the run with --again"


def test_damaged_pairs_are_a_gap(make: Make) -> None:
    runs = make("center")
    next(runs.glob("*/pairs.npz")).write_bytes(b"PK\x03\x04 torn")
    (gap,) = read_runs([runs]).gaps
    assert gap.reason == "its pairs.npz is damaged (no .npz archive); repeat the run with --again"


def test_a_run_counts_once(make: Make, tmp_path: Path) -> None:
    runs = make("center")
    copy = tmp_path / "copy"
    next(runs.iterdir()).rename(copy)
    (tmp_path / "alone.json").write_bytes((copy / "record.json").read_bytes())
    found = read_runs([copy, tmp_path / "alone.json"])
    assert len(found.runs) == 1
    assert found.gaps == (Gap("center s0", "is the run of center s0 once more; counted once"),)


def test_places_without_runs_are_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError) as missing:
        read_runs([tmp_path / "nowhere"])
    assert str(missing.value) == (
        f"{tmp_path}/nowhere: no such folder; name one that holds run folders, such as runs"
    )
    with pytest.raises(UserError) as empty:
        read_runs([tmp_path])
    assert str(empty.value) == (
        f"{tmp_path}: holds neither run folders nor records; 'bench run' makes run folders"
    )
