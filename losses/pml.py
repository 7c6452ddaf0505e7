"""Every loss of pytorch-metric-learning by its own name: `loss: {name: "pml:CircleLoss", m: 0.4}`.

Nothing of it is imported before somebody names one of them (it brings scikit-learn and takes seconds).
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from importlib import metadata
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn

from losses.distances import normalize, squared_distances
from losses.families import Family
from losses.loss import LOSSES, Loss, LossOutput
from losses.mining import compare
from losses.monitors import distance_percentiles, spread
from losses.options import check_options
from losses.registry import snake_case
from losses.types import Bounds, Fraction, NonNegative, Positive, PositiveInt

_Degrees = Annotated[float, Bounds(ge=0.0, le=180.0, unit="degrees")]
_TripletsPerAnchor = Literal["all"] | PositiveInt

# Its signatures hold defaults and no types: true and false are bool, other numbers float. Where that says too
# little or nothing, this table does: by name, or by loss and name.
_TYPES: Mapping[str, Any] = {
    "scale": Positive,
    "softmax_scale": Positive,
    "temperature": Positive,
    "gamma": Positive,
    "momentum": Fraction,
    "imbalance": Fraction,
    "num_bins": PositiveInt,
    "n_bins": PositiveInt | None,
    "delta": Positive | None,
    "centers_per_class": PositiveInt,
    "sub_centers": PositiveInt,
    "triplets_per_anchor": _TripletsPerAnchor,
    "ArcFaceLoss.margin": _Degrees,
    "SubCenterArcFaceLoss.margin": _Degrees,
    "TupletMarginLoss.margin": _Degrees,
    "AngularLoss.alpha": Annotated[float, Bounds(gt=0.0, lt=90.0, unit="degrees")],
    "CosFaceLoss.margin": Fraction,
    "LargeMarginSoftmaxLoss.margin": PositiveInt,
    "SphereFaceLoss.margin": PositiveInt,
    "PNPLoss.variant": Literal["Ds", "Dq", "Iu", "Ib", "O"],
    "PNPLoss.b": PositiveInt,
    "PNPLoss.alpha": PositiveInt,
    "PNPLoss.anneal": Positive,
    "RankedListLoss.alpha": NonNegative | None,
}
# What it demands and the engine does not know: a file may leave out every option, so these defaults are ours.
_DEFAULTS: Mapping[str, float] = {"RankedListLoss.margin": 0.4, "RankedListLoss.Tn": 5.0}
# The engine's values, by the names that it gives them.
_FROM_ENGINE: Mapping[str, str] = {
    "num_classes": "num_classes",
    "embedding_size": "embedding_dim",
    "descriptors_dim": "embedding_dim",
}
_REFUSED: Mapping[str, str] = {
    "CrossBatchMemory": "it wraps another loss; use loss.name=cross_batch_memory",
    "MultipleLosses": "it wraps other losses; use loss.name=sum",
    "SelfSupervisedLoss": "it takes pairs of views instead of labels",
    "VICRegLoss": "it takes pairs of views instead of labels",
    "ManifoldLoss": "it takes no labels",
}


class PmlLoss(Loss):
    """One of its losses as one of ours: raw embeddings in, its parameters trained with the backbone's.

    Args:
        module: the loss.
        name: of its total among the parts.
        num_classes: C where it has weights by class, None for losses over pairs.
    """

    def __init__(self, module: nn.Module, name: str, num_classes: int | None) -> None:
        super().__init__()
        # What it keeps between batches (DynamicSoftMarginLoss) or beside its weights (MarginLoss) as plain
        # tensors would neither be saved nor follow to a GPU.
        for attribute, value in list(vars(module).items()):
            if isinstance(value, Tensor):
                delattr(module, attribute)
                module.register_buffer(attribute, value)
        self.module = module
        self.name = name
        self.num_classes = num_classes

    def compute(self, embeddings: Tensor, labels: Tensor) -> LossOutput:
        """See the class."""
        if embeddings.isfinite().all():
            total = self._call(embeddings, labels).reshape(()).to(embeddings.dtype)
        else:
            total = torch.zeros_like(
                embeddings
            ).sum()  # some would look for such numbers in a table, and crash
        # Zero times the embeddings: its reducers skip what is not above zero, nan among it.
        total = total + 0.0 * embeddings.sum()
        monitors = _monitors(embeddings, labels) if self.monitoring and self.num_classes is None else {}
        return LossOutput(total, {self.name: total.detach()}, monitors)

    def _call(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        try:
            total: Tensor = self.module(embeddings, labels)
        except (AssertionError, ValueError) as error:
            raise ValueError(f"{self.name} of pytorch-metric-learning: {_first_line(error)}") from error
        return total


@torch.no_grad()
def _monitors(embeddings: Tensor, labels: Tensor) -> dict[str, Tensor]:
    unit = normalize(embeddings)
    distances = squared_distances(unit, unit)
    comparison = compare(distances, labels, labels, squared=True, embedding_dim=unit.shape[1])
    return {**distance_percentiles(comparison), **spread(unit)}


@functools.cache
def _losses() -> dict[str, type[nn.Module]]:
    """Its losses by name, without what is no loss of its own or cannot learn from labels."""
    from pytorch_metric_learning import losses

    base: type[nn.Module] = losses.BaseMetricLossFunction
    abstract = (base, losses.GenericPairLoss)
    found: dict[str, type[nn.Module]] = {}
    for name, kind in vars(losses).items():
        if inspect.isclass(kind) and issubclass(kind, base) and kind not in abstract and name not in _REFUSED:
            found[name] = kind
    return found


def _parameters(kind: type[nn.Module]) -> dict[str, inspect.Parameter]:
    """Arguments of a loss and, as it hands `**kwargs` on, of the losses that it is built upon."""
    named: dict[str, inspect.Parameter] = {}
    for owner in kind.__mro__:
        if owner.__name__ not in _losses() or "__init__" not in vars(owner):
            continue
        own = list(inspect.signature(owner).parameters.values())
        for parameter in own:
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                named.setdefault(parameter.name, parameter)
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in own):
            break
    return named


def _option(loss: str, parameter: inspect.Parameter) -> tuple[Any, Any] | None:
    """Type and default of an option; None for what no file can give (a type that nothing tells)."""
    name = parameter.name
    default = parameter.default
    if default is parameter.empty:
        default = _DEFAULTS.get(f"{loss}.{name}", parameter.empty)
    kind = _TYPES.get(f"{loss}.{name}", _TYPES.get(name))
    if kind is None and isinstance(default, bool | int | float):
        kind = bool if isinstance(default, bool) else float
    if kind is None or default is parameter.empty:
        return None
    is_whole = not isinstance(default, int) or isinstance(default, bool) or kind is PositiveInt
    return kind, default if is_whole else float(default)


def _factory(name: str) -> Callable[..., Loss]:
    """The factory of one of its losses, with the signature that ours would have."""
    kind = _losses()[name]
    parameters = _parameters(kind)
    engine = {
        theirs: ours
        for theirs, ours in _FROM_ENGINE.items()
        # one with a default may be left to it: MarginLoss then has one boundary instead of one a class
        if theirs in parameters and parameters[theirs].default is inspect.Parameter.empty
    }
    options = {
        option: described
        for option, parameter in parameters.items()
        if option not in _FROM_ENGINE and (described := _option(name, parameter)) is not None
    }

    def make(embedding_dim: int, num_classes: int, **given: Any) -> Loss:
        if unknown := sorted(set(given) - set(options)):
            raise TypeError(f"pml:{name} takes {', '.join(options) or 'no options'}, but got {unknown[0]}")
        check_options(make, given)
        available = {"embedding_dim": embedding_dim, "num_classes": num_classes}
        filled = {option: default for option, (_, default) in options.items()} | given
        try:
            module = kind(**{theirs: available[ours] for theirs, ours in engine.items()}, **filled)
        except (AssertionError, ValueError) as error:  # it asserts what a user may get wrong
            raise ValueError(_first_line(error)) from error
        return PmlLoss(module, snake_case(name), num_classes if "num_classes" in engine else None)

    keyword = inspect.Parameter.KEYWORD_ONLY
    positional = inspect.Parameter.POSITIONAL_OR_KEYWORD
    make.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(value, positional, annotation=int) for value in ("embedding_dim", "num_classes")]
        + [
            inspect.Parameter(option, keyword, annotation=kind_of, default=default)
            for option, (kind_of, default) in options.items()
        ],
        return_annotation=Loss,
    )
    make.__annotations__ = {option: kind_of for option, (kind_of, _) in options.items()}
    make.__name__ = make.__qualname__ = name
    make.__doc__ = _docstring(name, options)
    return make


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or "an assertion of its code does not hold"


def _docstring(name: str, options: Mapping[str, tuple[Any, Any]]) -> str:
    version = metadata.version("pytorch-metric-learning")
    lines = [f"{name} of pytorch-metric-learning."]
    described = [f"    {option}: as there" + _remark(name, option) for option in options]
    lines += ["", "Args:", *described] if described else []
    lines += ["", f"Source: pytorch-metric-learning {version}, losses.{name}."]
    lines += ["Checked against: its own call: test_every_loss_equals_its_own_call."]
    return "\n".join(lines) + "\n"


def _remark(name: str, option: str) -> str:
    remarks = []
    if any(isinstance(entry, Bounds) and entry.unit == "degrees" for entry in _metadata(name, option)):
        remarks.append("in degrees, unlike our own losses, which take radians")
    if f"{name}.{option}" in _DEFAULTS:
        remarks.append("it has no default, this one is ours")
    return f" ({'; '.join(remarks)})." if remarks else "."


def _metadata(name: str, option: str) -> tuple[Any, ...]:
    return getattr(_TYPES.get(f"{name}.{option}"), "__metadata__", ())


LOSSES.add_family(
    "pml",
    Family(
        "any loss of pytorch-metric-learning, by its own name (extra [pml])",
        package="pytorch_metric_learning",
        install="pip install 'faceloss-bench[pml]'",
        names=lambda: list(_losses()),
        factory=_factory,
        refused=_REFUSED,
    ),
)
