"""What `bench eval` is asked, checked before anything is read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import JsonValue

from bench.config import EvaluateConfig
from bench.data import Standardization
from bench.embed import Flip
from bench.errors import UserError
from bench.judge.judgement import IntervalKind, Settings
from bench.verification import Metric

SOURCES = ("run", "checkpoint", "weights", "onnx", "embeddings", "distances")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The options of `bench eval`, under their own names; its help says what each is. None: not given."""

    run: Path | None = None
    checkpoint: Path | None = None
    weights: Path | None = None
    onnx: Path | None = None
    embeddings: Path | None = None
    distances: Path | None = None
    backbone: str | None = None
    backbone_option: tuple[str, ...] = ()
    size: int | None = None
    crop: int | None = None
    standardize: Standardization | None = None
    pairs: tuple[str, ...] = ()
    images: Path | None = None
    data: str | None = None
    metric: Metric | None = None
    flip: Flip | None = None
    subtract_mean: bool | None = None
    no_normalize: bool = False
    fars: tuple[float, ...] = ()
    folds: int | None = None
    intervals: IntervalKind = "auto"
    replicates: int = 1000
    batch_size: int | None = None

    @property
    def source(self) -> str:
        """Name of the option that says what is judged."""
        return next(source for source in SOURCES if getattr(self, source) is not None)

    @property
    def path(self) -> Path:
        """What is judged."""
        path: Path = getattr(self, self.source)
        return path

    @property
    def has_images(self) -> bool:
        """Whether a network embeds images here."""
        return self.source not in ("embeddings", "distances")

    def check(self) -> None:
        """See that the options go together.

        Raises:
            UserError: they do not.
        """
        given = [source for source in SOURCES if getattr(self, source) is not None]
        if len(given) != 1:
            names = ", ".join(f"--{source}" for source in SOURCES)
            got = " and ".join(f"--{source}" for source in given) or "none"
            raise UserError(f"name one thing to judge ({names}), got {got}")
        (self._check_arrays if not self.has_images else self._check_model)()
        for far in self.fars:
            if not 0 < far < 1:
                raise UserError(f"--far must lie between 0 and 1, but got {far:g}")
        if len(set(self.fars)) < len(self.fars):
            raise UserError("--far: each rate must be given once")

    def _check_model(self) -> None:
        source = self.source
        if source == "weights" and self.backbone is None:
            raise UserError("--weights needs --backbone NAME; 'bench list backbones' shows the names")
        if source != "weights" and (self.backbone is not None or self.backbone_option):
            raise UserError(f"--backbone goes with --weights; --{source} needs none")
        if source in ("run", "checkpoint"):
            self._refuse(("size", "crop", "standardize"), f"--{source} knows what its images must be")
        if any(path.suffix != ".bin" for path in self.pair_files().values()) != (self.images is not None):
            raise UserError("--pairs and --images go together: a list of pairs, and the images that it names")
        if source in ("weights", "onnx") and not (self.pairs or self.data):
            raise UserError(f"--{source} needs --pairs FILE with --images, or --data CONFIG: what to ask it")

    def _check_arrays(self) -> None:
        source = self.source
        of_images = ("images", "data", "flip", "batch_size", "size", "crop", "standardize", "backbone")
        self._refuse(of_images, f"--{source} has no images")
        if source == "embeddings" and not self.pairs:
            raise UserError("--embeddings needs --pairs FILE: which images are compared")
        if source == "distances":
            self._refuse(("pairs", "metric", "subtract_mean"), "--distances are of pairs already")

    def _refuse(self, options: tuple[str, ...], reason: str) -> None:
        for option in options:
            if getattr(self, option) not in (None, ()):
                raise UserError(f"--{option.replace('_', '-')}: {reason}")

    def settings(self, of_run: EvaluateConfig | None) -> Settings:
        """How to compare; what was not given is as the run has it."""
        settings = Settings(
            normalize=not self.no_normalize, intervals=self.intervals, replicates=self.replicates
        )
        if of_run is not None:
            settings = replace(
                settings, metric=of_run.metric, subtract_mean=of_run.subtract_mean, fars=of_run.fars
            )
        if self.metric is not None:
            settings = replace(settings, metric=self.metric)
        if self.subtract_mean is not None:
            settings = replace(settings, subtract_mean=self.subtract_mean)
        return replace(settings, fars=self.fars) if self.fars else settings

    def pair_files(self) -> Mapping[str, Path]:
        """Protocol -> file, of `FILE` or `NAME=FILE`.

        Raises:
            UserError: two of one name.
        """
        files: dict[str, Path] = {}
        for text in self.pairs:
            name, equals, rest = text.partition("=")
            # a file may have a = in its name
            named = bool(equals) and not Path(text).exists()
            path = Path(rest if named else text)
            name = file_name(name if named else path.stem)
            if name in files:
                raise UserError(f"--pairs: two protocols are called {name!r}; use NAME=FILE")
            files[name] = path
        return files

    def as_parameters(self, settings: Settings, flip: Flip | None) -> dict[str, JsonValue]:
        """For MLflow."""
        return {
            "source": self.source,
            "path": str(self.path),
            "evaluate": {
                "metric": settings.metric if self.source != "distances" else None,
                "flip": flip,
                "subtract_mean": settings.subtract_mean,
                "normalize": settings.normalize,
                "fars": list(settings.fars),
                "intervals": settings.intervals,
            },
        }


def file_name(text: str) -> str:
    """The text as part of file and metric names.

    >>> file_name("vggface2 (2018)")
    'vggface2-2018'
    """
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.") or "model"
