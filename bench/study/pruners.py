"""Pruners by name: what ends a trial that will not win. Their options count evaluations, not steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from losses.registry import Registry
from losses.types import Bounds, NonNegativeInt, PositiveInt

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
else:  # the registry reads annotations; that must not import Optuna
    BasePruner = object

PRUNERS: Registry[BasePruner] = Registry("pruner")

Factor = Annotated[int, Bounds(ge=2)]


@PRUNERS.register
def none() -> BasePruner:
    """Every trial runs to its end."""
    from optuna.pruners import NopPruner

    return NopPruner()


@PRUNERS.register
def median(*, startup_trials: NonNegativeInt = 5, warmup_evaluations: NonNegativeInt = 0) -> BasePruner:
    """End a trial that is below the median of the earlier ones at the same evaluation.

    Args:
        startup_trials: finished trials before any is ended.
        warmup_evaluations: evaluations of a trial before it may be ended.
    """
    from optuna.pruners import MedianPruner

    return MedianPruner(n_startup_trials=startup_trials, n_warmup_steps=warmup_evaluations)


@PRUNERS.register
def asha(*, min_evaluations: PositiveInt = 1, reduction: Factor = 4) -> BasePruner:
    """Asynchronous successive halving: of those that reach a rung the best 1 / reduction go on.

    Args:
        min_evaluations: evaluations up to the first rung.
        reduction: rungs grow, and trials dwindle, by this factor.
    """
    from optuna.pruners import SuccessiveHalvingPruner

    return SuccessiveHalvingPruner(min_resource=min_evaluations, reduction_factor=reduction)


@PRUNERS.register
def hyperband(
    *,
    min_evaluations: PositiveInt = 1,
    max_evaluations: PositiveInt | Literal["auto"] = "auto",
    reduction: Factor = 3,
) -> BasePruner:
    """Several successive halvings side by side, from hasty to patient.

    Args:
        min_evaluations: evaluations up to the first rung of the hastiest.
        max_evaluations: evaluations of a whole trial; auto: as many as the first one that ends has.
        reduction: rungs grow, and trials dwindle, by this factor.
    """
    from optuna.pruners import HyperbandPruner

    return HyperbandPruner(
        min_resource=min_evaluations, max_resource=max_evaluations, reduction_factor=reduction
    )
