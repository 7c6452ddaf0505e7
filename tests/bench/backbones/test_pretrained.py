"""Tests of published weights: from a stand-in server, from disk, and from nobody who answers."""

from __future__ import annotations

import http.server
import importlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from bench import download as download_module
from bench import load_config, run
from bench.backbones import BACKBONES
from bench.engine import run_path
from bench.errors import UserError
from bench.trained import load_trained

inception = importlib.import_module("bench.backbones.inception_resnet_v1")  # not the function of that name
CPU = torch.device("cpu")
UNTRACKED = "tracking.enabled=false"
REPOSITORY = "timm/resnet18.a1_in1k"
RESNET = f"/{REPOSITORY}/resolve/main/model.safetensors"


class Server:
    """Serves files from memory and remembers who asked for what."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.cut = 0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                content = outer.files.get(self.path)
                if content is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[: len(content) - outer.cut])

            def log_message(self, *arguments: Any) -> None: ...

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    started = Server()
    monkeypatch.setenv("HF_ENDPOINT", started.url)
    monkeypatch.setattr(inception, "_RELEASE", started.url)
    yield started
    started.close()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache for weights; nobody's own is looked into."""
    folder = tmp_path / "weights-cache"
    monkeypatch.setenv("BENCH_CACHE", str(folder))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr("bench.backbones.timm._in_hub_cache", lambda repository, filename: None)
    return folder


def trained_resnet(path: Path) -> dict[str, torch.Tensor]:
    """The file that timm would publish, and what is in it."""
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(5)
    state = dict(timm.create_model("resnet18", pretrained=False).state_dict())
    save_file(state, path)
    return state


def inception_state() -> dict[str, torch.Tensor]:
    from facenet_pytorch import InceptionResnetV1

    torch.manual_seed(6)
    state: dict[str, torch.Tensor] = InceptionResnetV1(classify=True, num_classes=8631).state_dict()
    return state


def build(name: str, **options: object) -> dict[str, torch.Tensor]:
    return BACKBONES.build(name, {}, options).state_dict()


class TestTimm:
    def test_published_weights_are_fetched_once_and_fill_the_network(
        self, server: Server, tmp_path: Path, cache: Path
    ) -> None:
        theirs = trained_resnet(tmp_path / "model.safetensors")
        server.files[RESNET] = (tmp_path / "model.safetensors").read_bytes()
        for _ in range(2):
            mine = build("timm:resnet18", pretrained=True, embedding_dim=16)
            for name, value in theirs.items():
                if not name.startswith("fc."):
                    assert torch.equal(mine[f"network.{name}"], value), name
        assert server.asked == [RESNET]
        assert [path.name for path in (cache / "weights").glob("*.safetensors")] == [
            "timm--resnet18.a1_in1k-model.safetensors"
        ]

    def test_weights_on_disk_need_no_network(self, server: Server, tmp_path: Path) -> None:
        theirs = trained_resnet(tmp_path / "mine.safetensors")
        torch.save(theirs, tmp_path / "mine.pth")
        rows = [
            build("timm:resnet18", weights=str(tmp_path / f"mine.{kind}")) for kind in ("safetensors", "pth")
        ]
        for mine in rows:
            assert torch.equal(mine["network.layer4.1.conv2.weight"], theirs["layer4.1.conv2.weight"])
        assert server.asked == []

    def test_weights_of_another_network_are_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "resnet.safetensors"
        trained_resnet(path)
        with pytest.raises(ValueError, match=rf"^weights: {path}: size mismatch for bn1\.weight: "):
            build("timm:mobilenetv3_small_050", weights=str(path))
        with pytest.raises(ValueError, match=rf"^weights: {path}: fits [\d,]+ of [\d,]+ numbers: it is of"):
            build("timm:test_vit", weights=str(path))

    def test_a_network_without_published_weights_says_so(self) -> None:
        with pytest.raises(ValueError, match=r"^pretrained: timm has no weights of (\w+); set backbone.pre"):
            build("timm:vit_giant_patch14_224", pretrained=True)

    def test_a_trained_model_and_a_resumed_run_ask_nobody(
        self, server: Server, tmp_path: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        trained_resnet(tmp_path / "model.safetensors")
        server.files[RESNET] = (tmp_path / "model.safetensors").read_bytes()
        monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "a-cache"))  # not the one that tests share
        backbone = "backbone={name: 'timm:resnet18', embedding_dim: 16, pretrained: true}"
        config = load_config("tiny.yaml", [UNTRACKED, backbone, "train.max_steps=2"])
        run(config, track=False)
        server.files.clear()
        monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "another-cache"))
        assert load_trained(run_path(config), CPU).step == 2
        (run_path(config) / "record.json").unlink()
        assert run(config, track=False, resume=True).resumed_from_step == 2
        assert server.asked == [RESNET]


class TestInceptionResnetV1:
    def test_published_weights_fill_it_and_the_head_when_it_has_their_size(
        self, server: Server, tmp_path: Path
    ) -> None:
        theirs = inception_state()
        torch.save(theirs, tmp_path / "vgg.pt")
        server.files["/20180402-114759-vggface2.pt"] = (tmp_path / "vgg.pt").read_bytes()
        whole = build("inception_resnet_v1", pretrained="vggface2")
        other = build("inception_resnet_v1", pretrained="vggface2", embedding_dim=128)
        for name, value in theirs.items():
            if name.startswith("logits."):
                continue
            assert torch.equal(whole[name], value), name
            if not name.startswith("last_"):
                assert torch.equal(other[name], value), name
        assert other["last_linear.weight"].shape == (128, 1792)
        assert torch.equal(other["last_bn.weight"], torch.ones(128))
        assert server.asked == ["/20180402-114759-vggface2.pt"]

    def test_a_file_that_is_something_else_names_what_it_lacks(self, tmp_path: Path) -> None:
        torch.save({"weight": torch.ones(2)}, tmp_path / "other.pt")
        with pytest.raises(
            ValueError, match=r"^weights: .*other.pt: conv2d_1a.conv.weight of shape \(32, 3, 3, 3\)"
        ):
            build("inception_resnet_v1", weights=str(tmp_path / "other.pt"))


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.write_bytes(b"not weights"), "not a readable weight file: "),
        (lambda path: torch.save([1, 2], path), "must hold tensors by name, as torch.save"),
        (
            lambda path: torch.save({"learner": {}, "config": ""}, path),
            "is a checkpoint of a run; start from it with init.from=",
        ),
    ],
)
@pytest.mark.parametrize("name", ["timm:resnet18", "inception_resnet_v1"])
def test_a_file_that_holds_no_weights_is_one_line(tmp_path: Path, name: str, write: Any, said: str) -> None:
    path = tmp_path / "file.pt"
    write(path)
    with pytest.raises(ValueError, match=f"^weights: {path}.*{said}") as error:
        build(name, weights=str(path))
    assert "\n" not in str(error.value)


class TestNobodyAnswers:
    NAMES = (("timm:resnet18", True), ("inception_resnet_v1", "casia-webface"))

    @pytest.mark.parametrize(("name", "pretrained"), NAMES)
    def test_a_black_hole_costs_the_time_limit_and_says_what_to_do(
        self, name: str, pretrained: object, monkeypatch: pytest.MonkeyPatch, cache: Path
    ) -> None:
        monkeypatch.setattr(download_module, "SILENCE_S", 0.2)
        with socket.create_server(("127.0.0.1", 0)) as hole:  # takes connections and never says a word
            url = f"http://127.0.0.1:{hole.getsockname()[1]}"
            monkeypatch.setenv("HF_ENDPOINT", url)
            monkeypatch.setattr(inception, "_RELEASE", url)
            with pytest.raises(UserError) as error:
                build(name, pretrained=pretrained)
        message = str(error.value)
        assert message.startswith(url)
        assert (
            f": no answer within 0.2 s; without a network, copy the file to {cache / 'weights'}/" in message
        )
        off = "false" if pretrained is True else "null"
        assert message.endswith(f", or set backbone.weights=FILE; backbone.pretrained={off} starts without")
        assert [path.name for path in (cache / "weights").iterdir() if path.suffix != ".lock"] == []

    @pytest.mark.parametrize(("name", "pretrained"), NAMES)
    def test_a_refused_connection_is_one_line(
        self, name: str, pretrained: object, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as closed:
            url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        monkeypatch.setenv("HF_ENDPOINT", url)
        monkeypatch.setattr(inception, "_RELEASE", url)
        with pytest.raises(UserError, match=r": Connection refused; without a network, copy the file to "):
            build(name, pretrained=pretrained)

    def test_a_server_without_the_file_is_named_with_its_answer(self, server: Server) -> None:
        with pytest.raises(
            UserError, match=r"model\.safetensors: the server answers 404 \(Not Found\); without"
        ):
            build("timm:resnet18", pretrained=True)

    def test_a_connection_that_breaks_leaves_no_half_file(self, server: Server, cache: Path) -> None:
        server.files[RESNET], server.cut = b"x" * 100, 30
        with pytest.raises(UserError, match=r": the connection ended 30 bytes too early; without a network"):
            build("timm:resnet18", pretrained=True)
        assert [path.name for path in (cache / "weights").iterdir() if path.suffix != ".lock"] == []

    def test_offline_is_offline_at_once(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        with pytest.raises(UserError, match=r": not fetched, since HF_HUB_OFFLINE is set; without a network"):
            build("timm:resnet18", pretrained=True)
        assert server.asked == []

    def test_a_run_ends_with_exit_code_2_and_writes_nothing(
        self, server: Server, bench_command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "a-cache"))
        ended = bench_command(
            "run", "tiny.yaml", UNTRACKED, "backbone={name: 'timm:resnet18', pretrained: true}"
        )
        assert ended.code == 2
        assert ended.err.splitlines()[-1].startswith(f"{server.url}{RESNET}: the server answers 404")
        assert not Path("runs").exists()
