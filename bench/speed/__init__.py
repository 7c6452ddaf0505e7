"""Measured speed: the races of tests/speed, their recorded results, and the page made of them."""

from bench.speed.compare import Comparison, Ratio, Recorded, compare, record
from bench.speed.measure import find_races, measure
from bench.speed.page import write_page
from bench.speed.results import Contestant, Provenance, Results, Row

__all__ = [
    "Comparison",
    "Contestant",
    "Provenance",
    "Ratio",
    "Recorded",
    "Results",
    "Row",
    "compare",
    "find_races",
    "measure",
    "record",
    "write_page",
]
