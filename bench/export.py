"""A trained model with its preprocessing inside, for programs without us: torch.export or ONNX."""

from __future__ import annotations

import json
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import normalize as unit

from bench.data import Preprocess
from bench.embed import Flip, embed
from bench.errors import BenchError, UserError
from bench.results import RunFolder
from bench.trained import Trained
from bench.verification import normalize

Format = Literal["torch", "onnx"]

# Float arithmetic in another order: a hundred times what was measured on the shipped backbones (5e-7).
TOLERANCE = 5e-5
_BATCHES = (1, 3)  # one image, and another number than the two of the example
_METADATA = "faceloss-bench.json"


class Deployed(nn.Module):
    """uint8 pixels in, embeddings out, as the run's own evaluation compares them.

    Args:
        backbone: in evaluation mode.
        preprocess: of its pixels.
        flip: none and sum give rows of unit norm; concat gives facenet's two halves of unit norm.
    """

    def __init__(self, backbone: nn.Module, preprocess: Preprocess, flip: Flip) -> None:
        super().__init__()
        self.backbone = backbone
        self._preprocess = preprocess
        self._flip = flip

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) uint8 -> (B, D), or (B, 2 D) with concat."""
        embeddings: Tensor = self.backbone(self._preprocess(pixels))
        if self._flip == "none":
            return unit(embeddings)
        mirrored: Tensor = self.backbone(self._preprocess(pixels.flip(-1)))
        if self._flip == "sum":
            return unit(embeddings + mirrored)
        return torch.cat([unit(embeddings), unit(mirrored)], dim=1)


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written.

    Args:
        path: the file.
        size_px: height and width of the images that it takes.
        embedding_dim: length of its output's rows.
        difference: the largest between an embedding's number here and there, over random pixels.
    """

    path: Path
    size_px: int
    embedding_dim: int
    difference: float


def export(trained: Trained, out: Path, *, kind: Format) -> Exported:
    """Write the model, read it back, and see that it embeds alike.

    Input `pixels`: (B, 3, H, W) uint8 RGB of the run's size, any B. Output `embeddings`: (B, D), normalised.
    The file also holds what thresholds.json says, where the run has one.

    Args:
        trained: on the CPU.
        out: the file; replaced only when the new one is whole and embeds alike.
        kind: torch: torch.export's archive (.pt2); onnx: one ONNX file.

    Raises:
        UserError: packages are missing, or the place cannot be written.
        BenchError: what was written does not embed alike.
    """
    size_px = _size_px(trained)
    model = Deployed(
        trained.backbone.float().to(memory_format=torch.contiguous_format),
        trained.preprocess,
        trained.config.evaluate.flip,
    ).eval()
    metadata = _metadata(trained, size_px)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as folder:
            written = Path(folder) / ("model.pt2" if kind == "torch" else "model.onnx")
            if kind == "torch":
                _write_torch(model, written, size_px, metadata)
            else:
                _write_onnx(model, written, size_px, metadata)
            difference, dimension = _compare(trained, written, size_px, kind)
            if not difference <= TOLERANCE:
                raise BenchError(
                    f"{out}: the exported model differs by {difference:.2g} from this one, more than "
                    f"{TOLERANCE:g}; nothing was written"
                )
            written.chmod(0o644)
            written.replace(out)
    except OSError as error:
        raise UserError(f"{out}: cannot be written ({error.strerror or error})") from None
    return Exported(out, size_px, dimension, difference)


def _size_px(trained: Trained) -> int:
    if trained.size_px is None:
        raise UserError(f"{trained.source}: nothing tells the size of its images; name the folder of its run")
    return trained.size_px


def _metadata(trained: Trained, size_px: int) -> str:
    thresholds = RunFolder(trained.source).thresholds if trained.source.is_dir() else None
    known = thresholds is not None and thresholds.is_file()
    return json.dumps(
        {
            "name": trained.config.name,
            "config_hash": trained.config.hash,
            "seed": trained.config.seed,
            "step": trained.step,
            "size_px": size_px,
            "metric": trained.config.evaluate.metric,
            "flip": trained.config.evaluate.flip,
            "thresholds": json.loads(thresholds.read_bytes()) if known and thresholds is not None else None,
        }
    )


def _example(size_px: int, count: int, seed: int = 0) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, size_px, size_px), dtype=torch.uint8, generator=random)


def _write_torch(model: nn.Module, path: Path, size_px: int, metadata: str) -> None:
    program = torch.export.export(
        model, (_example(size_px, 2),), dynamic_shapes={"pixels": {0: torch.export.Dim("batch")}}
    )
    torch.export.save(program, path, extra_files={_METADATA: metadata})


def _write_onnx(model: nn.Module, path: Path, size_px: int, metadata: str) -> None:
    try:
        import onnx
        import onnxruntime  # noqa: F401  (the check needs it: better to know before the work than after)
        import onnxscript  # noqa: F401  (torch's exporter imports it)
    except ModuleNotFoundError as error:
        raise UserError(f"--format onnx needs {error.name}: pip install 'faceloss-bench[onnx]'") from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's own parts, about each other
        torch.onnx.export(
            model,
            (_example(size_px, 2),),
            path,
            dynamo=True,
            input_names=["pixels"],
            output_names=["embeddings"],
            dynamic_shapes={"pixels": {0: torch.export.Dim("batch")}},
            external_data=False,
            verbose=False,
        )
    graph = onnx.load(str(path))
    onnx.helper.set_model_props(graph, {_METADATA: metadata})
    onnx.save(graph, str(path))


def _compare(trained: Trained, path: Path, size_px: int, kind: Format) -> tuple[float, int]:
    """Largest difference from the run's own way, over batches of several sizes, and the length of a row."""
    flip = trained.config.evaluate.flip
    differences, dimension = [], 0
    for count in _BATCHES:
        pixels = _example(size_px, count, seed=count)
        here = embed(
            trained.backbone,
            pixels.numpy(),
            device=torch.device("cpu"),
            batch_size=count,
            preprocess=trained.preprocess,
            flip=flip,
        )
        if flip != "concat":
            here = normalize(here)
        there = _run_torch(path, pixels) if kind == "torch" else _run_onnx(path, pixels)
        if there.shape != here.shape:
            raise BenchError(f"the exported model gives {there.shape} where this one gives {here.shape}")
        differences.append(float(np.max(np.abs(here - there))))
        dimension = here.shape[1]
    # max would pass over nan
    return float(np.max(differences)), dimension


def _run_torch(path: Path, pixels: Tensor) -> NDArray[np.float32]:
    module = torch.export.load(path).module()
    with torch.inference_mode():
        result: NDArray[np.float32] = module(pixels).numpy()
    return result


def _run_onnx(path: Path, pixels: Tensor) -> NDArray[np.float32]:
    from onnxruntime import InferenceSession

    session = InferenceSession(str(path), providers=["CPUExecutionProvider"])
    result: NDArray[np.float32] = session.run(["embeddings"], {"pixels": pixels.numpy()})[0]
    return result
