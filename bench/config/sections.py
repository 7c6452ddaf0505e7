"""The sections that are the same for every loss, data set and backbone: their fields, limits and defaults."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationInfo,
    field_validator,
)

_VAL = ("val_at_far", "val_exact_at_far")

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Probability = Annotated[float, Field(ge=0.0, lt=1.0)]

# Strict: `yes` is no number, "0.1" neither, true is no 1. Defaults pass the same gate, so that 1 and 1.0 in a
# number's place give one hash.
STRICT = ConfigDict(
    frozen=True,
    extra="forbid",
    strict=True,
    allow_inf_nan=False,
    validate_default=True,
    use_attribute_docstrings=True,
)


class Section(BaseModel):
    """A part of a configuration: frozen, strict about types, refusing unknown keys."""

    model_config = STRICT


class HeadConfig(Section):
    """The keys at the top of a file that are values, not sections."""

    name: str = "run"
    """First part of the run folder's name; the file's stem when left out. Not inherited by 'extends'."""

    description: str = ""
    """One line for lists and reports. Not inherited by 'extends'."""

    seed: NonNegativeInt = 0
    """Drives weights, order, augmentation and mining. Which faces exist is data.seed's business."""

    @field_validator("name")
    @classmethod
    def _names_a_folder(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,79}", name):
            raise ValueError("must be at most 80 letters, digits, '.', '_', '+' or '-' (it names a folder)")
        return name


class InitConfig(Section):
    """Where the weights come from when they do not start at random, and which of them stand still.

    A pretrained backbone is asked for where the backbone is: `backbone.pretrained`, `backbone.weights`.
    """

    source: str | None = Field(default=None, alias="from", min_length=1)
    """Run folder, or checkpoint file, whose weights the training starts from; null: none."""

    backbone_only: bool = True
    """Leave the loss' weights and centers there; false: take them too, and all shapes have to fit."""

    sha256: str | None = None
    """Of the weights that are taken; filled in when the configuration is read, and insisted on in a file."""

    freeze: Literal["none", "backbone", "all_but_head"] = "none"
    """What stands still: no gradient, no weight decay, no BatchNorm statistics, no dropout."""

    freeze_epochs: PositiveFloat | None = None
    """Epochs until it learns with the rest; null: it never does."""

    @field_validator("sha256")
    @classmethod
    def _is_a_checksum(cls, sha256: str | None) -> str | None:
        if sha256 is not None and not re.fullmatch("[0-9a-f]{64}", sha256):
            raise ValueError("must be null or 64 digits from 0 to f")
        return sha256


class AugmentConfig(Section):
    """Random changes to training images; evaluation sees `standardize`, and `crop_px` from the middle."""

    flip: bool = True
    """Mirror each image with probability 1/2."""

    shift_px: NonNegativeInt = 0
    """Largest random translation in each direction, px; edges are padded by their own pixels."""

    rotate_deg: NonNegativeFloat = 0.0
    """Largest random rotation to either side, degrees."""

    crop_px: PositiveInt | None = None
    """Height and width of the backbone's images, cut out of the data's (facenet: 160 of 182); null: images
    are fed whole."""

    crop: Literal["random", "center"] = "random"
    """Which part training cuts out: any, or the middle, as evaluation always does."""

    erase: Fraction = 0.0
    """Probability of one random rectangle without content."""

    brightness: Fraction = 0.0
    """Largest random change of brightness, as a fraction."""

    standardize: Literal["fixed", "per_image"] = "fixed"
    """fixed: (x - 127.5) / 128. per_image: facenet's prewhiten. Evaluation uses the same."""


class TrainConfig(Section):
    """How long and how exactly to train."""

    epochs: PositiveFloat = 10.0
    """Length of training."""

    epoch_size: PositiveInt | None = None
    """Batches an epoch; null: as many as pass over the training images once."""

    max_steps: PositiveInt | None = None
    """Stop after so many steps, whatever the epochs say."""

    precision: Literal["float32", "bf16", "fp16", "float64"] = "float32"
    """Arithmetic of the backbone; fp16 trains on GPUs alone, with a scaled loss. Losses compute in float32;
    in float64, which is a reference, all do."""

    micro_batch: PositiveInt | None = None
    """Images a process puts through the backbone at a time; null: its whole share of the batch. The loss sees
    the whole batch in any case, so only batch normalisation notices. Costs a second forward pass."""

    compile: bool = False
    """Train through torch.compile; the first step then takes a minute, and roundings differ."""

    sync_batch_norm: bool = False
    """Batch normalisation over the images of all processes, on GPUs; false: of each process alone."""

    ema_decay: Probability | None = None
    """Decay a step of the moving average of the weights, which is then what is evaluated; null: none."""

    clip_norm: PositiveFloat | None = None
    """Largest norm of the whole gradient; null: no clipping."""

    batch_norm_momentum: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    """Share that a batch has in the running statistics of batch normalisation (facenet: 0.005, its decay of
    0.995; torch: 0.1); null: as the backbone has it."""

    log_every: PositiveInt = 10
    """Steps between two lines of metrics."""


class EvaluateConfig(Section):
    """The verification protocol: when, and with which distance."""

    every_epochs: PositiveFloat = 1.0
    """Epochs between two validations."""

    metric: Literal["sqeuclidean", "euclidean", "cosine", "angle"] = "sqeuclidean"
    """Distance between normalised embeddings."""

    flip: Literal["none", "sum", "concat"] = "none"
    """Add the mirrored image: sum adds the embeddings, then normalises; concat joins two of unit norm."""

    subtract_mean: bool = False
    """Subtract the mean over both sides of the training folds' pairs."""

    fars: tuple[Annotated[float, Field(gt=0.0, lt=1.0)], ...] = Field(default=(1e-3,), min_length=1)
    """False accept rates at which VAL is reported."""

    batch_size: PositiveInt = 256
    """Images embedded at once."""

    best: str | None = "accuracy"
    """Validation metric by which the best checkpoint is kept: accuracy, auc, eer, val_at_far_X or
    val_exact_at_far_X with X among `fars`; null: none is kept."""

    weights: Literal["last", "best"] = "last"
    """Which weights the test at the end is about: the last, or the best by validation."""

    @field_validator("fars")
    @classmethod
    def _named_once(cls, fars: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(fars)) < len(fars):
            raise ValueError("must name each rate once")
        return fars

    @field_validator("best")
    @classmethod
    def _is_measured(cls, best: str | None, info: ValidationInfo) -> str | None:
        from bench.verification import far_key  # numpy, which completion on the command line does without

        if best is None:
            return None
        best = best.removeprefix("validation/")
        keys = [far_key(far) for far in info.data.get("fars", ())]
        metrics = ["accuracy", "auc", "eer", *(f"{kind}_{key}" for key in keys for kind in _VAL)]
        if best not in metrics and "fars" in info.data:
            raise ValueError(f"must be null or one of {', '.join(metrics)}")
        return best

    @field_validator("weights")
    @classmethod
    def _is_kept(cls, weights: str, info: ValidationInfo) -> str:
        if weights == "best" and info.data.get("best", "") is None:
            raise ValueError("must be last where evaluate.best is null")
        return weights


class RuntimeConfig(Section):
    """Where and how it runs. Not part of the hash: a run is the same run on another machine."""

    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps."""

    threads: Literal["auto"] | PositiveInt = "auto"
    """Threads of the CPU; auto divides the cores among the processes of a run on a machine. Fewer are
    faster where other programs want the cores."""

    checkpoint_every_s: NonNegativeFloat = 60.0
    """Seconds between two checkpoints; a kill loses at most that. Each validation writes one too."""

    checkpoints_kept: PositiveInt = 2
    """Newest checkpoints that stay on disk, beside the best."""

    shard_classes: bool | None = None
    """Divide classifier and centers among the processes of a run, with the same outcome; null: from 10,000
    identities on."""

    activation_checkpointing: bool = False
    """Keep the input of each block of the backbone alone and compute the rest once more on the way back: less
    memory, a second forward pass, the same outcome."""

    timeout_s: PositiveFloat = 600.0
    """Seconds after which a process of the run that does not answer counts as dead."""

    tf32: bool | None = None
    """Round the inputs of float32 products to 10 bits on the GPU; null: as torch does, for convolutions."""

    cudnn_benchmark: bool = False
    """Let cuDNN try its convolutions and keep the fastest, which may be another one in the next run."""

    deterministic: bool = False
    """Refuse operations whose order of addition may change from run to run; slower on a GPU."""

    runs: str = Field(default="runs", min_length=1)
    """Folder of the run folders."""

    @field_validator("deterministic")
    @classmethod
    def _tries_nothing(cls, deterministic: bool, info: ValidationInfo) -> bool:
        if deterministic and info.data.get("cudnn_benchmark"):
            raise ValueError("must be false where runtime.cudnn_benchmark is true")
        return deterministic

    @field_validator("device")
    @classmethod
    def _known_device(cls, device: str) -> str:
        if not re.fullmatch(r"auto|cpu|mps|cuda(:(0|[1-9][0-9]?))?", device):
            raise ValueError("must be auto, cpu, cuda, cuda:N or mps")
        return device


class TrackingConfig(Section):
    """What MLflow gets. Not part of the hash."""

    enabled: bool = True
    """Deliver the run to MLflow; the run folder is written in any case."""

    experiment: str = Field(default="faceloss-bench", min_length=1)
    """MLflow experiment."""

    uri: str | None = None
    """Tracking server or database; null: MLFLOW_TRACKING_URI, else MLflow's default (SQLite here)."""

    upload_checkpoint: bool = False
    """Store the last checkpoint as an artifact."""


STATIC_SECTIONS: dict[str, type[Section]] = {
    "init": InitConfig,
    "augment": AugmentConfig,
    "train": TrainConfig,
    "evaluate": EvaluateConfig,
    "runtime": RuntimeConfig,
    "tracking": TrackingConfig,
}

# Sections of registered components: `name` plus the options of the factory of that name.
COMPONENT_SECTIONS = ("data", "backbone", "loss", "batch", "optimizer", "schedule")

# Sections that make a study of a run: `bench study` reads them, a single run has none.
STUDY_SECTIONS = ("search", "objective", "sampler", "pruner", "study")
