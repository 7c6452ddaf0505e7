import pytest
import torch
from torch import nn

from bench.backbones import BACKBONES
from bench.backbones.ir_small import ir_small
from bench.data import Preprocess
from bench.embed import backbone_input, embed, forward

SIZE_PX = {"inception_resnet_v1": 80}
CPU = torch.device("cpu")


@pytest.fixture(params=BACKBONES.names())
def backbone(request: pytest.FixtureRequest) -> tuple[str, nn.Module]:
    torch.manual_seed(0)
    return request.param, BACKBONES.build(request.param, {}, {"embedding_dim": 24})


def pixels(name: str, count: int) -> torch.Tensor:
    size = SIZE_PX.get(name, 64)
    return torch.randint(0, 256, (count, 3, size, size), generator=torch.Generator().manual_seed(1)).to(
        torch.uint8
    )


def fed(name: str, count: int) -> torch.Tensor:
    return backbone_input(pixels(name, count), Preprocess())


def test_every_backbone_ends_in_raw_embeddings_of_the_chosen_size(backbone: tuple[str, nn.Module]) -> None:
    name, network = backbone
    embeddings = forward(network.eval(), fed(name, 3), "float32")
    assert embeddings.shape == (3, 24)
    assert embeddings.dtype == torch.float32
    norms = embeddings.norm(dim=1)
    assert not torch.allclose(norms, torch.ones(3), atol=1e-3)


def test_every_parameter_of_every_backbone_learns(backbone: tuple[str, nn.Module]) -> None:
    name, network = backbone
    forward(network.train(), fed(name, 4), "float32").square().sum().backward()
    silent = [key for key, parameter in network.named_parameters() if parameter.grad is None]
    assert silent == []


def test_embedding_in_batches_equals_embedding_at_once(backbone: tuple[str, nn.Module]) -> None:
    name, network = backbone
    images = pixels(name, 5).numpy()
    rows = [embed(network, images, device=CPU, batch_size=size, preprocess=Preprocess()) for size in (2, 5)]
    torch.testing.assert_close(*map(torch.from_numpy, rows), rtol=1e-4, atol=1e-5)


class Left(nn.Module):
    """Embeds an image as the mean of its left and of its right half."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        half = images.shape[-1] // 2
        return torch.stack([images[..., :half].mean((1, 2, 3)), images[..., half:].mean((1, 2, 3))], 1)


def test_flip_sum_adds_and_flip_concat_joins_unit_halves() -> None:
    images = pixels("small", 3).numpy()
    plain, summed, joined = (
        torch.from_numpy(embed(Left(), images, device=CPU, batch_size=2, preprocess=Preprocess(), flip=flip))
        for flip in ("none", "sum", "concat")
    )
    mirrored = plain.flip(1)
    torch.testing.assert_close(summed, plain + mirrored)
    normalize = torch.nn.functional.normalize
    torch.testing.assert_close(joined, torch.cat([normalize(plain), normalize(mirrored)], 1))


def test_embedding_leaves_the_mode_of_the_backbone_as_it_was() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.LazyLinear(2)).train()
    images = pixels("small", 2).numpy()
    first, second = (
        embed(network, images, device=CPU, batch_size=2, preprocess=Preprocess()) for _ in range(2)
    )
    assert (first == second).all()
    assert network.training


@pytest.mark.parametrize(("name", "millions"), [("small", 18), ("ir_small", 64)])
def test_the_work_of_a_backbone_is_what_its_docstring_says(name: str, millions: int) -> None:
    network = BACKBONES.build(name, {}, {}).eval()
    work = 0

    def count(layer: nn.Module, inputs: tuple[torch.Tensor, ...], outputs: torch.Tensor) -> None:
        nonlocal work
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        work += layer.weight.numel() * outputs[0, 0].numel()

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(count)
    network(torch.zeros(1, 3, 64, 64))
    assert round(work / 1e6) == millions
    assert f"{millions} M multiply-adds at 64 px" in " ".join((BACKBONES.summary(name)).split())


def test_a_unit_of_ir_small_keeps_what_came_in() -> None:
    unit = ir_small().units[2]  # type: ignore[index, union-attr]
    features = torch.randn(2, 128, 8, 8)
    nn.init.zeros_(unit.residual[5].weight)  # the last norm of the residual
    assert torch.equal(unit(features), features)


def test_the_gradient_of_the_last_relu_of_small_comes_in_the_layout_of_its_output() -> None:
    """At 64 px nothing is averaged, and flattening would pass its own layout back."""
    torch.manual_seed(0)
    network = BACKBONES.build("small", {}, {"embedding_dim": 8, "width": 4})
    images = torch.randn(6, 3, 64, 64)
    network(images).square().sum().backward()
    expected = [parameter.grad.clone() for parameter in network.parameters()]

    arrived: list[torch.Tensor] = []

    def watch(_module: nn.Module, _inputs: object, features: torch.Tensor) -> None:
        features.grad_fn.register_prehook(lambda gradients: arrived.append(gradients[0]))

    network.stages[-1].register_forward_hook(watch)
    network.zero_grad()
    network.to(memory_format=torch.channels_last)
    network(images.contiguous(memory_format=torch.channels_last)).square().sum().backward()
    assert arrived[0].shape == (6, 32, 4, 4)
    assert arrived[0].is_contiguous(memory_format=torch.channels_last)
    for parameter, gradient in zip(network.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-4)
