"""RunRecord: what came out of a run, as one document that reports read without knowing the engine."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from bench.results.alignment import Alignment

State = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]


class _Document(BaseModel):
    # nan is written as the string "NaN": valid JSON that pydantic reads back as the number
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class ProtocolRecord(_Document):
    """Figures of one verification protocol, by DESIGN's definitions.

    `metrics` holds accuracy, accuracy_std, accuracy_se, best_threshold, val_at_far_X, val_std, far,
    val_exact_at_far_X, auc, eer; `reasons` says in words why a metric is nan, `warnings` (by FAR)
    where impostors are too few to measure it. `intervals` holds Wilson's 95 % interval of the proportions.
    """

    metrics: dict[str, float]
    reasons: dict[str, str] = {}
    warnings: dict[str, str] = {}
    intervals: dict[str, tuple[float, float]] = {}
    fold_accuracy: tuple[float, ...]
    fold_threshold: tuple[float, ...]
    val_facenet: dict[str, dict[str, float]]
    val_exact: dict[str, dict[str, float]]
    num_genuine: int
    num_impostor: int
    num_skipped: int = Field(default=0, description="official pairs left out because an image is missing")
    metric: str
    flip: str
    subtract_mean: bool


class Budget(_Document):
    """What the training used. `images` went through forward and backward: the currency of comparisons."""

    images: int
    images_forward_only: int
    steps: int
    epochs: float


class Timing(_Document):
    """Seconds of wall time, in total and by part of the loop, and the training speed."""

    wall_s: float
    parts_s: dict[str, float]
    images_per_s: float


class Environment(_Document):
    """Machine and libraries of the run."""

    python: str
    platform: str
    cpu: str
    device: str
    device_name: str
    threads: int
    processes: int
    packages: dict[str, str]
    peak_memory_mib: float = 0.0
    tf32: bool | None = Field(default=None, description="of all float32 products; None: as torch does")
    cudnn_benchmark: bool | None = Field(default=None, description="None: no GPU, or an older record")
    deterministic: bool | None = None
    activation_checkpointing: bool | None = Field(default=None, description="None: an older record")
    batch_norm_images: int | None = Field(
        default=None,
        description="images that batch normalisation sees together in training; None: no such layer",
    )


class Code(_Document):
    """Version of faceloss-bench that ran."""

    version: str
    git_commit: str | None
    git_dirty: bool | None


class DataAudit(_Document):
    """What `bench data audit` found about the training set beside the test set.

    `shared_identities` is None where names are mere numbers, `embedding_duplicates` where no model was asked.
    Duplicates are counted in test pictures.
    """

    train: str
    test: str
    train_images: int
    train_identities: int
    test_images: int
    test_identities: int
    shared_identities: int | None
    near_duplicates: int
    embedding_duplicates: int | None = None
    embedding_model: str = ""
    is_clean: bool
    verdict: str


class Best(_Document):
    """The best validation of a run: by which metric, how good, after how many steps."""

    metric: str
    value: float
    step: int


class WarmStart(_Document):
    """The run whose weights another one started from.

    `step` and `images` are what it had been trained for: budget that comes on top of the new run's own.
    `sha256` is of the weights that were taken, `source` the path as it was given.
    """

    source: str
    name: str
    config_hash: str
    step: int
    images: int
    sha256: str
    backbone_only: bool


class RunRecord(_Document):
    """One run: what was asked (config), on what (data, environment, code), and what came out.

    A run is identified by (config_hash, seed, data_checksum).
    """

    schema_version: Literal[1] = 1
    name: str
    description: str = ""
    config_hash: str
    seed: int
    data_name: str
    data_checksum: str
    data_audit: DataAudit | None = Field(
        default=None, description="verdict of `bench data audit`; None where the data set was never audited"
    )
    data_notes: tuple[str, ...] = Field(default=(), description="images that were left out, say")
    alignment: Alignment | None = Field(
        default=None, description="how the training faces were cut out of their pictures; None: nothing tells"
    )
    test_alignment: dict[str, Alignment] = Field(
        default={}, description="likewise, by protocol; left out where nothing tells"
    )
    state: State
    error: str | None = None
    started_at: str
    ended_at: str
    config: dict[str, Any]
    num_parameters: int
    budget: Budget
    timing: Timing
    environment: Environment
    code: Code
    resumed_from_step: int | None = None
    init: WarmStart | None = None
    best: Best | None = None
    tested_step: int | None = Field(default=None, description="step of the weights that `protocols` is about")
    validation: dict[str, float] = Field(
        default={}, description="validation/* metrics at the last evaluation"
    )
    protocols: dict[str, ProtocolRecord] = {}

    def metrics(self) -> dict[str, float]:
        """The final metrics as tracked: `<protocol>/<metric>`."""
        return {
            f"{protocol}/{metric}": value
            for protocol, figures in self.protocols.items()
            for metric, value in figures.metrics.items()
        }
