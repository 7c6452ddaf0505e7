import errno
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.checkpoint import Checkpoints, load_checkpoint
from bench.errors import BenchError

from ..conftest import Injected

CPU = torch.device("cpu")


def state(step: int) -> dict[str, Any]:
    return {
        "step": step,
        "learner": {"weights": torch.full((3,), float(step)), "random": {}},
        "metrics_bytes": 0,
    }


def test_the_newest_whole_checkpoint_is_loaded_and_old_ones_go(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, kept=2)
    for step in (10, 20, 30):
        checkpoints.save(state(step))
    loaded = checkpoints.load(CPU)
    assert loaded is not None
    assert loaded["step"] == 30
    assert [path.name for path in sorted(tmp_path.glob("*.pt"))] == ["step-00000020.pt", "step-00000030.pt"]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-7]), "bytes long, not"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1] + b"x"), "its checksum differs"),
        (lambda path: path.with_suffix(".json").unlink(), "its writing was interrupted"),
        (lambda path: path.with_suffix(".json").write_text("{"), "its checksum file is damaged"),
    ],
)
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    damage: Any,
    said: str,
    injected: Injected,
) -> None:
    checkpoints = Checkpoints(tmp_path, kept=2)
    checkpoints.save(state(10))
    damage(checkpoints.save(state(20)))
    injected("a damaged or truncated checkpoint", "the steps since the one before it")
    with caplog.at_level("WARNING", logger="bench.checkpoint"):
        loaded = checkpoints.load(CPU)
    assert loaded is not None
    assert loaded["step"] == 10
    assert "step-00000020.pt" in caplog.text
    assert said in caplog.text


def test_without_checkpoints_there_is_nothing_to_continue(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path, kept=2).load(CPU) is None


def test_a_full_disk_is_one_line_and_leaves_the_checkpoint_before(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    injected: Injected,
) -> None:
    checkpoints = Checkpoints(tmp_path, kept=1)
    checkpoints.save(state(10))

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    injected("a full disk under a checkpoint", "the steps since the one before it")
    with pytest.raises(
        BenchError, match="no space for the checkpoint of step 20; free some and continue with --resume"
    ):
        checkpoints.save(state(20))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000010.json", "step-00000010.pt"]


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("exploded"),)


def test_loading_a_strangers_file_runs_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, write in (("zip.pt", torch.save), ("raw.pt", _pickle)):
        write({"step": 1, "learner": Bomb()}, tmp_path / name)
        with pytest.raises(BenchError, match=f"{name}: not a readable checkpoint"):
            load_checkpoint(tmp_path / name, CPU)
    assert not Path("exploded").exists()


def _pickle(value: object, path: Path) -> None:
    path.write_bytes(pickle.dumps(value))
