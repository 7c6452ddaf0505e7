"""Data sets, batches and augmentation."""

from bench.data.augment import Augment
from bench.data.batches import BATCHES, Batch, BatchSource, Counted, Embed
from bench.data.faces import Data, FaceSet, Images, PairProtocol
from bench.data.folder import folder
from bench.data.packed import packed
from bench.data.preprocess import Preprocess, Standardization, standardize
from bench.data.rendered import rendered
from bench.data.super_batch import SuperBatch
from bench.location import cache_folder
from losses.registry import Registry

DATASETS: Registry[Data] = Registry("data set")
DATASETS.register(folder)
DATASETS.register(packed)
DATASETS.register(rendered)

__all__ = [
    "BATCHES",
    "DATASETS",
    "Augment",
    "Batch",
    "BatchSource",
    "Counted",
    "Data",
    "Embed",
    "FaceSet",
    "Images",
    "PairProtocol",
    "Preprocess",
    "Standardization",
    "SuperBatch",
    "cache_folder",
    "standardize",
]
