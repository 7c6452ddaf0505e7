"""Anything that turns images into embeddings, read from disk: a run of ours, plain weights, an ONNX file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.backbones import BACKBONES
from bench.config import RunConfig, load_config
from bench.data import Images as FaceImages
from bench.data import Preprocess
from bench.embed import Flip, Precision, embed
from bench.errors import BenchError, UserError, one_line
from bench.judge.images import Images
from bench.memory import evaluation_message, is_out_of_memory
from bench.results import Alignment, Preprocessing
from bench.tensors import load_tensors
from bench.trained import load_trained
from bench.weights import is_plain

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

# A classifier over training identities says nothing of other people: a file of weights may hold one.
_CLASSIFIERS = ("logits.", "classifier.", "fc.", "head.")


@dataclass(frozen=True, eq=False)
class Model:
    """A network in evaluation mode and what it wants to be fed.

    Args:
        name: for tables, folders and MLflow.
        backbone: (B, 3, H, W) -> (B, D), on the device.
        preprocess: of pixels.
        size_px: height and width that images are brought to first; None: unknown.
        device: where the backbone is.
        precision: arithmetic of the backbone.
        config: of the run that it comes from; None for a foreign one.
    """

    name: str
    backbone: nn.Module
    preprocess: Preprocess
    size_px: int | None
    device: torch.device
    precision: Precision = "float32"
    config: RunConfig | None = None

    @property
    def num_parameters(self) -> int:
        """Trained numbers; 0 where a runtime hides them."""
        return sum(parameter.numel() for parameter in self.backbone.parameters())

    def preprocessing(self, flip: Flip, alignment: Alignment | None) -> Preprocessing:
        """As thresholds.json keeps it, of images that were aligned so."""
        return Preprocessing(
            size_px=self.size_px,
            crop_px=self.preprocess.crop_px,
            standardization=self.preprocess.standardization,
            flip=flip,
            alignment=alignment,
        )

    def embed(self, pixels: FaceImages, *, flip: Flip, batch_size: int) -> NDArray[np.floating]:
        """(N, 3, H, W) -> (N, D), raw; with concat (N, 2 D), each half of unit norm.

        Raises:
            UserError: the network does not take images of this size.
            BenchError: out of memory.
        """
        try:
            return embed(
                self.backbone,
                pixels,
                device=self.device,
                batch_size=batch_size,
                preprocess=self.preprocess,
                flip=flip,
                precision=self.precision,
            )
        except (RuntimeError, MemoryError) as error:
            if is_out_of_memory(error):
                message = evaluation_message(str(self.device), batch_size, "--batch-size ")
                raise BenchError(f"{self.name}: {message}") from None
            raise UserError(
                f"{self.name}: does not take images of {pixels.shape[-1]} px "
                f"({str(error).splitlines()[0]}); give another --size"
            ) from None

    def embed_images(
        self, images: Images, names: Sequence[str], *, flip: Flip, batch_size: int, threads: int
    ) -> NDArray[np.floating]:
        """The same of named images, decoded by `threads` threads while the network works.

        Raises:
            UserError: no size is known; an image cannot be read.
        """
        batches = images.batches(names, size_px=known_size(self), batch_size=batch_size, threads=threads)
        return np.concatenate([self.embed(pixels, flip=flip, batch_size=batch_size) for pixels in batches])


def known_size(model: Model) -> int:
    """Height and width that images must be brought to.

    Raises:
        UserError: nothing tells.
    """
    if model.size_px is None:
        raise UserError(f"{model.name}: nothing tells what size of images it takes; give --size PX")
    return model.size_px


def model_of_run(source: Path, device: torch.device) -> Model:
    """The model of a run folder or of one checkpoint file.

    Raises:
        UserError: neither, or without a whole checkpoint.
        BenchError: no checkpoint of ours.
    """
    trained = load_trained(source, device)
    config = trained.config
    # checkpoints are called step-00000312.pt in every run
    name = source.name if source.is_dir() else f"{config.name}-{source.stem}"
    return Model(
        name or source.resolve().name,
        trained.backbone,
        trained.preprocess,
        trained.size_px,
        device,
        config.train.precision,
        config,
    )


def model_of_weights(
    path: Path,
    backbone: str,
    options: Sequence[str],
    *,
    preprocess: Preprocess,
    size_px: int | None,
    device: torch.device,
) -> Model:
    """A backbone of `bench list backbones` with weights from a file, as facenet-pytorch or timm publish them.

    Args:
        path: a state dict saved by torch.save, or .safetensors.
        backbone: name of the backbone.
        options: of the backbone, `embedding_dim=512` and the like.
        preprocess: that the weights were trained with.
        size_px: that they were trained with.
        device: to compute on.

    Raises:
        UserError: an unknown backbone, or weights that are not of it.
    """
    overrides = [f"backbone.name={backbone}", *(f"backbone.{option}" for option in options)]
    component = load_config("softmax", overrides).backbone
    network = BACKBONES.build(component.name, {}, component.options)
    weights = _read_weights(path)
    expected = network.state_dict()
    missing = [name for name in expected if name not in weights]
    unknown = [name for name in weights if name not in expected and not name.startswith(_CLASSIFIERS)]
    if missing or unknown:
        what = f"lacks {missing[0]}" if missing else f"holds {unknown[0]}, which it does not know"
        count = len(missing or unknown)
        more = f" and {count - 1:,} more" if count > 1 else ""
        raise UserError(f"{path}: are not weights of {backbone}: {what}{more}")
    for name, value in expected.items():
        if weights[name].shape != value.shape:
            raise UserError(
                f"{path}: are not weights of {backbone} as configured: {name} has shape "
                f"{tuple(weights[name].shape)} instead of {tuple(value.shape)}; see --backbone-option"
            )
    network.load_state_dict({name: weights[name] for name in expected})
    network = network.to(device).to(memory_format=torch.channels_last).eval()
    return Model(path.stem, network, preprocess, size_px, device)


def _read_weights(path: Path) -> dict[str, Tensor]:
    try:
        content: Any = load_tensors(path, torch.device("cpu"))
    except FileNotFoundError:
        raise UserError(f"{path}: does not exist; it should hold weights") from None
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: holds no weights that can be read ({one_line(error)})") from None
    for key in ("state_dict", "model"):  # where training scripts put them
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(map(is_plain, content.values())):
        raise UserError(f"{path}: holds no weights: a mapping of names to tensors is wanted")
    return {str(name).removeprefix("module."): value for name, value in content.items()}


class OnnxBackbone(nn.Module):
    """An ONNX graph as a network of torch's: images in, embeddings out.

    Args:
        session: onnxruntime's.
    """

    def __init__(self, session: InferenceSession) -> None:
        super().__init__()
        self._session = session
        (self._input,) = session.get_inputs()
        self._output = session.get_outputs()[0].name
        self.takes_pixels = self._input.type == "tensor(uint8)"
        self._one_by_one = self._input.shape[0] == 1

    @property
    def size_px(self) -> int | None:
        """Height and width, where the graph fixes them.

        Raises:
            UserError: it is not fed square images.
        """
        shape = self._input.shape
        if len(shape) != 4 or shape[1] != 3:
            raise UserError(f"its input must be (B, 3, H, W), but is {tuple(shape)}")
        if shape[0] not in (1, None) and isinstance(shape[0], int):
            raise UserError(f"it takes batches of {shape[0]} only; export it with a free batch size")
        height, width = shape[2:]
        if not isinstance(height, int) or not isinstance(width, int):
            return None
        if height != width:
            raise UserError(f"it takes images of {height} x {width}; only square ones are supported")
        return height

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, D)."""
        values = np.ascontiguousarray(images.numpy(force=True))
        if self.takes_pixels:
            values = values.round().clip(0, 255).astype(np.uint8)
        parts = np.split(values, len(values)) if self._one_by_one else [values]
        rows = [self._session.run([self._output], {self._input.name: part})[0] for part in parts]
        return torch.from_numpy(np.concatenate(rows)).flatten(1).to(images.device)


def model_of_onnx(path: Path, *, preprocess: Preprocess, size_px: int | None, device: torch.device) -> Model:
    """A network in ONNX's format; one that takes uint8 pixels standardises them itself.

    Raises:
        UserError: onnxruntime is not installed, or the file is no network that takes images.
    """
    try:
        from onnxruntime import InferenceSession
    except ModuleNotFoundError:
        raise UserError("reading ONNX models needs onnxruntime: pip install 'faceloss-bench[onnx]'") from None
    if not path.is_file():
        raise UserError(f"{path}: does not exist; it should be an ONNX model")
    try:
        session = InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no common class and are made in C++
        problem = str(error).splitlines()[0]
        raise UserError(f"{path}: is not an ONNX model that onnxruntime reads ({problem})") from None
    if len(session.get_inputs()) != 1:
        raise UserError(f"{path}: must have one input, the images, but has {len(session.get_inputs())}")
    network = OnnxBackbone(session)
    try:
        fixed = network.size_px
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    if network.takes_pixels:
        preprocess = replace(preprocess, standardization="none")
    return Model(path.stem, network.eval(), preprocess, fixed or size_px, device)
