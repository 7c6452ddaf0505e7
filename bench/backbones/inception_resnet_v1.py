"""Inception-ResNet-v1 as facenet used it, from facenet-pytorch, with an embedding head of chosen size."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from torch import nn

from bench.backbones.pretrained import published, read_state
from losses.types import PositiveInt, Probability

_RELEASE = "https://github.com/timesler/facenet-pytorch/releases/download/v2.2.9"
_FILES = {
    "vggface2": "20180402-114759-vggface2.pt",
    "casia-webface": "20180408-102900-casia-webface.pt",
}
_HEAD = ("last_linear", "last_bn")
_BLOCKS = (
    *("conv2d_1a", "conv2d_2a", "conv2d_2b", "conv2d_3b", "conv2d_4a", "conv2d_4b"),
    *(f"repeat_{stage}.{index}" for stage, count in ((1, 5), (2, 10), (3, 5)) for index in range(count)),
    *("mixed_6a", "mixed_7a", "block8"),
)


def inception_resnet_v1(
    *,
    embedding_dim: PositiveInt = 512,
    dropout: Probability = 0.2,
    pretrained: Literal["vggface2", "casia-webface"] | None = None,
    weights: str | None = None,
    weights_sha256: str | None = None,
) -> nn.Module:
    """Inception-ResNet-v1 (Szegedy et al. 2017, arXiv 1602.07261): 160 px in facenet's recipe, at least 75.

    The head is facenet's bottleneck: average pool, dropout, linear without bias, batch norm. Its output is
    not normalised: softmax and center losses act on these pre-logits, pair losses normalise themselves.

    Args:
        embedding_dim: D (128 in facenet's first models, 512 later).
        dropout: probability of dropping a feature (facenet's keep_probability is 1 - dropout).
        pretrained: facenet-pytorch's weights, trained on that set; made for augment.standardize=fixed. The
            head is taken along when embedding_dim is 512, else it starts at random.
        weights: the same from a file on disk (facenet-pytorch's names of parameters).
        weights_sha256: of that file; filled in when the configuration is read, and insisted on in a file.

    Raises:
        ValueError: both are given; the file does not fit.
        UserError: the weights cannot be fetched.
    """
    from facenet_pytorch import InceptionResnetV1  # here, not above: it costs seconds, it imports torchvision

    if pretrained and weights:
        raise ValueError("pretrained and weights exclude each other; set one of them to null")
    # classify=True skips the normalisation at the end of forward; its classifier becomes the identity
    network = InceptionResnetV1(classify=True, num_classes=1, dropout_prob=dropout)
    network.last_linear = nn.Linear(network.last_linear.in_features, embedding_dim, bias=False)
    network.last_bn = nn.BatchNorm1d(embedding_dim, eps=network.last_bn.eps)
    network.logits = nn.Identity()
    network.head_modules = _HEAD
    network.recomputed_modules = _BLOCKS
    if pretrained:
        name = _FILES[pretrained]
        _load(network, published(f"{_RELEASE}/{name}", name, "backbone.pretrained=null"))
    if weights:
        _load(network, Path(weights), weights_sha256)
    backbone: nn.Module = network
    return backbone


def _load(network: nn.Module, path: Path, sha256: str | None = None) -> None:
    state = read_state(path, sha256)
    state = {name: value for name, value in state.items() if not name.startswith("logits.")}
    own = network.state_dict()
    for name, value in own.items():
        fits = name in state and state[name].shape == value.shape
        if not fits and not name.startswith(_HEAD):
            raise ValueError(f"weights: {path}: {name} of shape {tuple(value.shape)} is not in it")
    unknown = sorted(state.keys() - own.keys())
    if unknown:
        raise ValueError(f"weights: {path}: has {unknown[0]}, which Inception-ResNet-v1 has not")
    # a head of another size: all of it starts at random
    whole = all(state[name].shape == own[name].shape for name in own if name in state)
    network.load_state_dict(
        {name: value for name, value in state.items() if whole or not name.startswith(_HEAD)}, strict=False
    )
