"""`thresholds.json`: which threshold to deploy, how sure it is, and what images it holds for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from bench.errors import UserError
from bench.results.alignment import Alignment
from bench.results.files import write_text
from bench.verification import DeployedThreshold, Metric

# What a run looks thresholds up for, beside the rates that its configuration names. The large ones are there
# because few validation pairs can tell a small one.
DEPLOYED_FARS = (1e-1, 1e-2, 1e-3)


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Threshold(_Document):
    """The threshold of one FAR, as `bench.verification.DeployedThreshold` has it; null is unknown."""

    threshold: float | None
    interval: tuple[float | None, float | None]
    far: float | None
    far_interval: tuple[float | None, float | None]
    val: float | None
    val_interval: tuple[float | None, float | None]
    confidence: float
    false_accepts: int
    num_genuine: int
    num_impostor: int
    source: str
    warning: str | None


class Preprocessing(_Document):
    """How pixels became embeddings; the thresholds hold for nothing else.

    Args:
        size_px: height and width of the image; null where embeddings came from elsewhere.
        crop_px: side of the middle square that is cut out of it; null takes all of it.
        standardization: of the pixels; null where embeddings came from elsewhere.
        flip: whether the mirrored image joins in.
        alignment: how faces were cut out of their pictures; null: nothing tells.
    """

    size_px: int | None
    crop_px: int | None
    standardization: str | None
    flip: Literal["none", "sum", "concat"] | None
    alignment: Alignment | None = None


class Thresholds(_Document):
    """The document.

    Args:
        rule: what a threshold means.
        metric: the distance; null where distances were given.
        normalized: embeddings were divided by their norm first.
        preprocessing: of the images.
        data: name of the pairs -> FAR ("1e-3") -> threshold.
    """

    schema_version: Literal[1] = 1
    rule: Literal["accept: distance < threshold"] = "accept: distance < threshold"
    metric: Metric | None
    normalized: bool | None
    preprocessing: Preprocessing
    data: dict[str, dict[str, Threshold]]

    def write(self, path: Path) -> None:
        """Replace the file."""
        write_text(path, self.model_dump_json(indent=2) + "\n")


def read_thresholds(path: Path) -> Thresholds:
    """Read a document.

    Raises:
        UserError: it is missing, damaged, or of another version.
    """
    try:
        return Thresholds.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(
            f"{path}: does not exist; 'bench run' writes it at the end of a run, 'bench eval' for any model"
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "JSON"
        raise UserError(f"{path}: damaged, or of another version ({where}: {first['msg']})") from None


def as_documents(found: Mapping[str, DeployedThreshold]) -> dict[str, Threshold]:
    """Thresholds as the document holds them."""
    return {far: Threshold.model_validate(one.document()) for far, one in found.items()}


def deployed_fars(fars: Iterable[float]) -> tuple[float, ...]:
    """The rates that thresholds are saved for: those asked for and the usual ones, descending."""
    return tuple(sorted({*fars, *DEPLOYED_FARS}, reverse=True))
