"""Every command in docs/verification.md runs as it stands there."""

from __future__ import annotations

import re
import shlex
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from ..conftest import Bench
from .conftest import Small, save_embeddings

TEXT = (Path(__file__).resolve().parents[3] / "docs" / "verification.md").read_text()
COMMANDS = [
    line
    for block in re.findall(r"```bash\n(.*?)```", TEXT, re.DOTALL)
    for line in block.splitlines()
    if line.startswith("bench ")
]


@pytest.fixture
def everything(trained_run: Path, small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the commands name. The photos are crops already, so nothing needs to be found in them."""
    shutil.copytree(trained_run, "runs/center-0a1b2c3d-s0")
    with tarfile.open("lfw.tar", "w") as archive:
        archive.add("faces")
    save_embeddings(Path("emb.npz"), small.names)
    draw = np.random.default_rng(0)
    np.savez("d.npz", distances=draw.random(60), same=np.arange(60) % 2 == 0, fold=np.arange(60) // 6)
    Path("album").mkdir()
    for target, name in (("a.jpg", 0), ("b.jpg", 3), ("album/c.jpg", 4)):
        shutil.copy(small.images / f"{small.names[name]}.png", target)
    Path("list.csv").write_text("left,right,same\na.jpg,b.jpg,0\n")
    monkeypatch.setattr("bench.judge.photos.crop_face", lambda photo, alignment, name: photo)


def test_there_are_commands_of_each_kind() -> None:
    assert {command.split()[1] for command in COMMANDS} == {"eval", "verify", "export"}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.usefixtures("everything")
def test_a_command_of_the_document_works(bench_command: Bench, command: str) -> None:
    if "--format onnx" in command:
        pytest.importorskip("onnxscript", reason="needs faceloss-bench[onnx]")
        pytest.importorskip("onnxruntime", reason="needs faceloss-bench[onnx]")
    if "vggface2.pt" in command:
        from facenet_pytorch import InceptionResnetV1

        torch.save(InceptionResnetV1(num_classes=2).state_dict(), "vggface2.pt")
    ended = bench_command(*shlex.split(command)[1:])
    assert ended.code == 0, ended.err
    assert ended.out
