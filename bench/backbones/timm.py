"""Every network of timm as a backbone: `timm:resnet18`, with an embedding head of ours."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.backbones.pretrained import published, read_state
from losses.families import Family
from losses.types import PositiveInt, Probability

_HUB = "https://huggingface.co"


class Timm(nn.Module):
    """A network of timm up to its pooled features, then dropout, a linear layer without bias and batch norm.

    Args:
        network: (B, 3, H, W), normalised as its weights want it -> (B, F).
        features: F.
        embedding_dim: D of the output.
        dropout: before the linear layer.
        mean: of the network's input by channel, for pixels in [0, 1].
        std: likewise.
    """

    scale: Tensor
    shift: Tensor

    def __init__(
        self,
        network: nn.Module,
        features: int,
        embedding_dim: int,
        dropout: float,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        super().__init__()
        self.network = network
        self.head = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(features, embedding_dim, bias=False), nn.BatchNorm1d(embedding_dim)
        )
        # images come as (x - 127.5) / 128 and the network was made for (x / 255 - mean) / std
        scale = torch.tensor([128 / 255 / value for value in std]).view(1, 3, 1, 1)
        shift = torch.tensor([(127.5 / 255 - m) / s for m, s in zip(mean, std, strict=True)]).view(1, 3, 1, 1)
        self.register_buffer("scale", scale, persistent=False)
        self.register_buffer("shift", shift, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) standardised -> (B, D) raw embeddings."""
        embeddings: Tensor = self.head(self.network(images * self.scale + self.shift))
        return embeddings


def timm_family() -> Family[nn.Module]:
    """All that timm knows; timm is imported (in seconds) when the first one is named."""
    return Family(
        summary="a network of timm",
        package="timm",
        install="pip install timm",
        names=_names,
        factory=_factory,
        alike=True,
    )


def _names() -> list[str]:
    import timm

    return sorted({*timm.list_models(), *timm.list_models(pretrained=True)})


def _factory(name: str) -> Callable[..., nn.Module]:
    def backbone(
        *,
        embedding_dim: PositiveInt = 128,
        dropout: Probability = 0.0,
        size_px: PositiveInt | None = None,
        pretrained: bool = False,
        weights: str | None = None,
        weights_sha256: str | None = None,
    ) -> nn.Module:
        if pretrained and weights:
            raise ValueError("pretrained and weights exclude each other; set pretrained to false")
        state = None
        if pretrained:
            state = read_state(_published(name))
        elif weights:
            state = read_state(Path(weights), weights_sha256)
        source = f"weights: {weights or 'those that timm publishes'}"
        network = _create(name, size_px, state, source)
        if state is not None:
            _see_that_it_fits(network, state, source)
        config: Mapping[str, Any] = network.pretrained_cfg
        width = getattr(network, "head_hidden_size", None) or network.num_features
        return Timm(network, width, embedding_dim, dropout, config["mean"], config["std"])

    backbone.__doc__ = f"""timm's {name} with an embedding head.

    Args:
        embedding_dim: D.
        dropout: before the head.
        size_px: side of the images, for networks that are made for one size (vision transformers): that of
            the data, or of augment.crop_px. Others take any size: leave it null.
        pretrained: start from the weights that timm publishes; made for augment.standardize=fixed.
        weights: start from a file on disk instead (.safetensors or torch.save's, timm's names of parameters).
        weights_sha256: of that file; filled in when the configuration is read, and insisted on in a file.
    """
    return backbone


def _create(name: str, size_px: int | None, state: Mapping[str, Tensor] | None, source: str) -> Any:
    import timm

    size = {} if size_px is None else {"img_size": size_px}
    # timm changes the names and resizes position embeddings on the way; dict(): it takes entries out
    overlay = {} if state is None else {"pretrained_cfg_overlay": {"state_dict": dict(state)}}
    create: Any = timm.create_model  # its keywords depend on the network
    try:
        return create(name, pretrained=state is not None, num_classes=0, **size, **overlay)
    except TypeError as error:
        if size_px is None or "img_size" not in str(error):
            raise
        raise ValueError(f"size_px: {name} takes images of any size; leave it null") from None
    except (RuntimeError, AssertionError, KeyError) as error:
        first, *others = str(error).splitlines()
        if others:  # "Error(s) in loading state_dict for ...:", then one line for each
            raise ValueError(f"{source}: {others[0].strip()}") from None
        raise ValueError(first) from None


def _see_that_it_fits(network: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Timm passes over what it does not find; a file of another network would leave all at random."""
    known = {_fingerprint(value) for value in state.values()}
    own = [value for value in network.state_dict().values() if value.numel() > 1]
    found = sum(value.numel() for value in own if _fingerprint(value) in known)
    total = sum(value.numel() for value in own)
    if found < total / 2:
        raise ValueError(f"{source}: fits {found:,} of {total:,} numbers: it is of another network")


def _fingerprint(value: Tensor) -> tuple[int, float]:
    return value.numel(), float(value.double().sum())


def _published(name: str) -> Path:
    """Raises ValueError when timm publishes none."""
    import timm

    config: Any = timm.get_pretrained_cfg(name)
    if config is None or not (config.hf_hub_id or config.url):
        raise ValueError(f"pretrained: timm has no weights of {name}; set backbone.pretrained=false")
    off = "backbone.pretrained=false"
    if not config.hf_hub_id:
        return published(config.url, config.url.rpartition("/")[2], off)
    filename = config.hf_hub_filename or "model.safetensors"
    repository, _, revision = config.hf_hub_id.partition("@")
    if (cached := _in_hub_cache(repository, filename)) is not None:
        return cached
    hub = os.environ.get("HF_ENDPOINT", _HUB).rstrip("/")
    url = f"{hub}/{repository}/resolve/{revision or 'main'}/{filename}"
    return published(url, f"{repository.replace('/', '--')}-{filename}", off)


def _in_hub_cache(repository: str, filename: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repository, filename)
    return Path(found) if isinstance(found, str) else None
