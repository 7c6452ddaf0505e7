"""Backbones by name: each maps standardised images (B, 3, H, W) to raw embeddings (B, embedding_dim)."""

from torch import nn

from bench.backbones.inception_resnet_v1 import inception_resnet_v1
from bench.backbones.ir_small import ir_small
from bench.backbones.pretrained import architecture
from bench.backbones.recompute import recompute
from bench.backbones.small import small
from bench.backbones.timm import timm_family
from losses.registry import Registry

BACKBONES: Registry[nn.Module] = Registry("backbone")
BACKBONES.register(small)
BACKBONES.register(ir_small)
BACKBONES.register(inception_resnet_v1)
BACKBONES.add_family("timm", timm_family())

__all__ = ["BACKBONES", "architecture", "recompute"]
