"""Faces of a report come from the weights; pictures of real people never do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench import run
from bench.portraits import faces_of
from bench.results import RunFolder, write_text
from reports.groups import make_groups
from reports.records import read_runs

from .conftest import Bench
from .pictures import write_people


@pytest.mark.slow
def test_a_run_shows_rendered_people_and_of_real_ones_points_alone(workspace: Path) -> None:
    run("tiny.yaml", ["train.max_steps=3", "tracking.enabled=false"])
    (faces,), gaps = faces_of(make_groups(read_runs([Path("runs")]).runs))
    assert gaps == []
    assert (faces.label, faces.protocol, faces.seed) == ("tiny", "rendered", 0)
    assert faces.embeddings.shape == (len(faces.people), 16)
    np.testing.assert_allclose(np.linalg.norm(faces.embeddings, axis=1), 1, atol=1e-6)
    num_people = int(faces.people.max()) + 1
    assert faces.portraits is not None
    assert faces.portraits.shape == (num_people, 3, 32, 32)
    assert faces.false_accepts or faces.false_rejects  # three steps have not taught it much

    (path,) = Path("runs").glob("tiny-*")
    folder = RunFolder(path)
    record = folder.record()
    assert record is not None
    folder.write_record(record.model_copy(update={"data_name": "folder"}))
    (real,), _ = faces_of(make_groups(read_runs([Path("runs")]).runs))
    assert (real.portraits, real.false_accepts, real.false_rejects) == (None, None, None)
    np.testing.assert_array_equal(real.embeddings, faces.embeddings)

    # faces that are not those it was trained for would tell nothing
    folder.write_record(record.model_copy(update={"data_checksum": "0" * 64}))
    found, (gap,) = faces_of(make_groups(read_runs([Path("runs")]).runs))
    assert found == []
    assert (gap.what, gap.reason) == ("tiny s0", "no embedding map: its data have changed since")


ON_FILES = """\
extends: tiny.yaml
data: {name: folder, root: train, size_px: 32, validation: {identities: 0.5, pairs: 3},
       protocol: {root: test, name: files, pairs: pairs.txt}}
train: {max_steps: 3}
"""


def test_bench_report_opens_data_that_lie_in_files(workspace: Path, bench_command: Bench) -> None:
    write_people(workspace / "train", {f"Person_{number:02d}": 4 for number in range(60)})
    tested = [f"Tested_{number}" for number in range(4)]
    write_people(workspace / "test", dict.fromkeys(tested, 3))
    lines = ["2\t2"]
    for one, other in (tested[:2], tested[2:]):
        lines += [f"{one}\t1\t2", f"{other}\t1\t2", f"{one}\t1\t{other}\t1", f"{one}\t2\t{other}\t2"]
    write_text(workspace / "pairs.txt", "\n".join(lines) + "\n")
    write_text(workspace / "files.yaml", ON_FILES)
    ended = bench_command("run", "files.yaml", "tracking.enabled=false")
    assert ended.code == 0, ended.err
    ended = bench_command("report", "--out", "out")
    assert ended.code == 0, ended.err
    assert "embeddings of 4 people by files" in Path("out/report.md").read_text()
