"""Losses and monitors of the steps since the last line of metrics.jsonl."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from losses import LossOutput

_APART = 64  # steps whose values may stay apart


class Window:
    """Gathers the values of every step and gives their means once a line.

    Values stay on the device until the line is due, so that logging costs one transfer a line (or one in 64
    steps, where lines are rarer). The values of an unfinished window go into the checkpoint: a resumed run
    writes the line that it would have written.
    """

    def __init__(self) -> None:
        self._names: list[str] = []
        self._rows = torch.empty(0, 0, dtype=torch.float64)  # (steps, names)
        self._values: list[Tensor] = []  # of each later step
        self._extra: list[list[float]] = []
        self._images = 0
        self._seconds = 0.0
        self._mark = time.perf_counter()

    def add(self, output: LossOutput, extra: Mapping[str, float], images: int) -> None:
        """Take the values of one step that trained on `images` images."""
        values = {"loss": output.total.detach(), **output.parts, **output.monitors}
        self._names = [*values, *extra]
        # a copy: what a loss says may be a buffer of its own that the next step writes over
        self._values.append(torch.stack(_alike(values.values(), output.total)).detach())
        self._extra.append(list(extra.values()))
        if len(self._values) == _APART:
            self._joined()
        self._images += images
        now = time.perf_counter()
        self._seconds += now - self._mark
        self._mark = now

    def skip_time(self) -> None:
        """What has passed since the last step (an evaluation, a checkpoint) is not training time."""
        self._mark = time.perf_counter()

    def means(self) -> dict[str, float]:
        """Name -> mean over the steps that define it, and `train/images_per_s`; empties the window."""
        means = self._joined().nanmean(0).tolist()
        metrics = {f"train/{name}": mean for name, mean in zip(self._names, means, strict=True)}
        metrics["train/images_per_s"] = self._images / max(self._seconds, 1e-9)
        self._rows, self._images, self._seconds = self._rows[:0], 0, 0.0
        return metrics

    def state_dict(self) -> dict[str, Any]:
        """The unfinished window."""
        rows = self._joined()
        return {
            "names": [f"train/{name}" for name in self._names],
            "rows": rows if len(rows) else None,
            "images": self._images,
            "seconds": self._seconds,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue an unfinished window."""
        self._names = [name.removeprefix("train/") for name in state["names"]]
        self._rows = self._rows[:0] if state["rows"] is None else state["rows"].cpu()
        self._values, self._extra = [], []
        self._images, self._seconds = state["images"], state["seconds"]

    def _joined(self) -> Tensor:
        """(steps, names) of the window so far, float64."""
        if self._values:
            values = torch.stack(self._values).cpu().double()
            rows = torch.cat([values, torch.tensor(self._extra, dtype=torch.float64)], 1)
            self._rows = torch.cat([self._rows, rows]) if len(self._rows) else rows
            self._values, self._extra = [], []
        return self._rows


def _alike(values: Iterable[Tensor | float], total: Tensor) -> list[Tensor]:
    """Scalars that can be stacked; a plain number, or one on another device, comes to that of the loss."""
    return [
        value
        if isinstance(value, Tensor) and value.device == total.device
        else torch.as_tensor(value).to(total)
        for value in values
    ]
