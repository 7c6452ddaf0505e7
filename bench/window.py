"""Losses and monitors of the steps since the last line of metrics.jsonl."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import torch

from losses import LossOutput


class Window:
    """Gathers the values of every step and gives their means once a line.

    Values stay on the device until the line is due, so that logging costs one transfer a line. The values of
    an unfinished window go into the checkpoint: a resumed run writes the line that it would have written.
    """

    def __init__(self) -> None:
        self._names: list[str] = []
        self._rows: list[torch.Tensor] = []
        self._images = 0
        self._seconds = 0.0
        self._mark = time.perf_counter()

    def add(self, output: LossOutput, extra: Mapping[str, float], images: int) -> None:
        """Take the values of one step that trained on `images` images."""
        values = {"loss": output.total.detach(), **output.parts, **output.monitors}
        self._names = [f"train/{name}" for name in [*values, *extra]]
        row = torch.stack([torch.as_tensor(value).to(output.total) for value in values.values()]).double()
        self._rows.append(torch.cat([row, row.new_tensor(list(extra.values()))]))
        self._images += images
        now = time.perf_counter()
        self._seconds += now - self._mark
        self._mark = now

    def skip_time(self) -> None:
        """What has passed since the last step (an evaluation, a checkpoint) is not training time."""
        self._mark = time.perf_counter()

    def means(self) -> dict[str, float]:
        """Name -> mean over the steps that define it, and `train/images_per_s`; empties the window."""
        means = torch.stack(self._rows).nanmean(0).tolist()
        metrics = dict(zip(self._names, means, strict=True))
        metrics["train/images_per_s"] = self._images / max(self._seconds, 1e-9)
        self._rows, self._images, self._seconds = [], 0, 0.0
        return metrics

    def state_dict(self) -> dict[str, Any]:
        """The unfinished window."""
        rows = torch.stack(self._rows).cpu() if self._rows else None
        return {"names": self._names, "rows": rows, "images": self._images, "seconds": self._seconds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue an unfinished window."""
        self._names = state["names"]
        self._rows = [] if state["rows"] is None else list(state["rows"])
        self._images, self._seconds = state["images"], state["seconds"]
