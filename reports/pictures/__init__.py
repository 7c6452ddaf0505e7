"""The figures that compare groups of runs; `reports.figures` draws those of one run."""

from reports.pictures.forest import forest
from reports.pictures.histograms import histograms
from reports.pictures.people import embedding_map, hardest_pairs
from reports.pictures.rates import accuracy_by_threshold, det, roc
from reports.pictures.training import monitors, training
from reports.pictures.waterfall import waterfall

__all__ = [
    "accuracy_by_threshold",
    "det",
    "embedding_map",
    "forest",
    "hardest_pairs",
    "histograms",
    "monitors",
    "roc",
    "training",
    "waterfall",
]
