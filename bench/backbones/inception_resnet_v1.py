"""Inception-ResNet-v1 as facenet used it, from facenet-pytorch, with an embedding head of chosen size."""

from __future__ import annotations

from torch import nn

from losses.types import PositiveInt, Probability


def inception_resnet_v1(*, embedding_dim: PositiveInt = 512, dropout: Probability = 0.2) -> nn.Module:
    """Inception-ResNet-v1 (Szegedy et al. 2017, arXiv 1602.07261): 160 px in facenet's recipe, at least 75.

    The head is facenet's bottleneck: average pool, dropout, linear without bias, batch norm. Its output is
    not normalised: softmax and center losses act on these pre-logits, pair losses normalise themselves.

    Args:
        embedding_dim: D (128 in facenet's first models, 512 later).
        dropout: probability of dropping a feature (facenet's keep_probability is 1 - dropout).
    """
    from facenet_pytorch import InceptionResnetV1  # here, not above: it costs seconds, it imports torchvision

    # classify=True skips the normalisation at the end of forward; its classifier becomes the identity
    network = InceptionResnetV1(classify=True, num_classes=1, dropout_prob=dropout)
    network.last_linear = nn.Linear(network.last_linear.in_features, embedding_dim, bias=False)
    network.last_bn = nn.BatchNorm1d(embedding_dim, eps=network.last_bn.eps)
    network.logits = nn.Identity()
    backbone: nn.Module = network
    return backbone
