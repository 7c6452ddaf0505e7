"""Annotated types for the options of a loss: they state the unit and the allowed range.

A loss writes `alpha: Positive = 0.2`; the configuration layer reads the `Bounds` from the signature,
refuses other values with the rule in words, and shows the unit. At run time they are plain numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated


@dataclass(frozen=True, slots=True)
class Bounds:
    """Allowed range of a number and the unit it is given in.

    Args:
        ge: value >= ge.
        gt: value > gt.
        le: value <= le.
        lt: value < lt.
        unit: name of the unit ("radians", "px"), empty for plain numbers.
    """

    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    unit: str = ""


Positive = Annotated[float, Bounds(gt=0.0)]
NonNegative = Annotated[float, Bounds(ge=0.0)]
Fraction = Annotated[float, Bounds(ge=0.0, le=1.0)]
Probability = Annotated[float, Bounds(ge=0.0, lt=1.0)]
SampleRate = Annotated[float, Bounds(gt=0.0, le=1.0)]
Radians = Annotated[float, Bounds(ge=0.0, le=math.pi, unit="radians")]
PositiveInt = Annotated[int, Bounds(ge=1)]
NonNegativeInt = Annotated[int, Bounds(ge=0)]
