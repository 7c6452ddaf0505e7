"""How faces were cut out of their pictures: a figure and a threshold hold for such crops and no others."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Method = Literal["box", "five_point"]


class Alignment(BaseModel):
    """The geometry of a crop.

    Args:
        method: box, facenet's crop; five_point, a similarity to ArcFace's template.
        size_px: height and width of the crop.
        margin_px: of box, in pixels of the picture, half of it on each side; 0 for five_point.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Method
    size_px: int
    margin_px: int

    def __str__(self) -> str:
        if self.method == "five_point":
            return f"five points on ArcFace's template, {self.size_px} px"
        return f"the detector's box with a margin of {self.margin_px} px, {self.size_px} px"
