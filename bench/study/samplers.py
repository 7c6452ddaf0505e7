"""Samplers by name: what chooses the values of the next trial. What is left out is as Optuna has it.

A sampler is built anew for every trial, from the study's seed and the trial's number: a study that was killed
and continued then asks as one that was not, and two processes on one study do not propose the same by having
the same seed. What a sampler has to remember (CMA-ES) it keeps in the study.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from losses.registry import Registry
from losses.types import NonNegativeInt, Positive, PositiveInt

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler
else:  # the registry reads annotations; that must not import Optuna
    BaseSampler = object

SAMPLERS: Registry[BaseSampler] = Registry("sampler")

ONE_OBJECTIVE_ONLY = ("cmaes",)
NO_CONDITIONS = ("qmc",)


@SAMPLERS.register
def tpe(
    seed: int,
    *,
    startup_trials: NonNegativeInt = 10,
    candidates: PositiveInt = 24,
    multivariate: bool = False,
) -> BaseSampler:
    """Tree-structured Parzen estimator: the usual choice; running trials count as bad ones meanwhile.

    Args:
        seed: of this choice.
        startup_trials: trials at random before it begins.
        candidates: points drawn, of which the most promising is tried.
        multivariate: see options together, not each alone.
    """
    from optuna.samplers import TPESampler

    return TPESampler(
        seed=seed,
        n_startup_trials=startup_trials,
        n_ei_candidates=candidates,
        multivariate=multivariate,
        group=multivariate,  # conditional spaces have no other multivariate model
        constant_liar=True,
    )


@SAMPLERS.register
def cmaes(seed: int, *, startup_trials: PositiveInt = 1, sigma: Positive | None = None) -> BaseSampler:
    """CMA-ES: numbers only, one objective; needs some hundred trials.

    Args:
        seed: of this choice.
        startup_trials: trials at random before it begins.
        sigma: first width of its steps, where the range is 0 to 1; null: a sixth.
    """
    from optuna.samplers import CmaEsSampler

    return CmaEsSampler(
        seed=seed, n_startup_trials=startup_trials, sigma0=sigma, warn_independent_sampling=False
    )


@SAMPLERS.register
def qmc(seed: int, *, sequence: Literal["sobol", "halton"] = "sobol", scramble: bool = True) -> BaseSampler:
    """Quasi-random points that fill the space evenly; nothing is learnt from trials.

    Args:
        seed: of this choice.
        sequence: of points.
        scramble: by the study's seed.
    """
    from optuna.samplers import QMCSampler

    return QMCSampler(seed=seed, qmc_type=sequence, scramble=scramble, warn_independent_sampling=False)


@SAMPLERS.register
def grid(seed: int) -> BaseSampler:
    """Every combination once, in an order drawn by the seed; a float needs a step."""
    # The points wait in the study from its beginning (ledger.py): none is done twice, or lost by a kill.
    # Optuna's GridSampler can do both, and raises outside of study.optimize.
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=seed)


@SAMPLERS.register
def random(seed: int) -> BaseSampler:
    """Independent random points."""
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=seed)


@SAMPLERS.register
def nsgaii(seed: int, *, population: PositiveInt = 50) -> BaseSampler:
    """NSGA-II: a genetic algorithm for several objectives.

    Args:
        seed: of this choice.
        population: trials a generation.
    """
    from optuna.samplers import NSGAIISampler

    return NSGAIISampler(seed=seed, population_size=population)


@SAMPLERS.register
def gp(seed: int, *, startup_trials: PositiveInt = 10, deterministic: bool = False) -> BaseSampler:
    """Gaussian process: few, expensive trials.

    Args:
        seed: of this choice.
        startup_trials: trials at random before it begins.
        deterministic: equal points give equal values, as on one CPU.
    """
    from optuna.samplers import GPSampler

    return GPSampler(
        seed=seed,
        n_startup_trials=startup_trials,
        deterministic_objective=deterministic,
        warn_independent_sampling=False,
    )


def seed_of(name: str, seed: int, number: int) -> int:
    """The seed of a sampler that chooses for the trial of that number.

    A quasi-random sequence is one sequence: its seed stays, its position is counted in the study.
    """
    return seed if name == "qmc" else (seed * 1_000_003 + number) % 2**32
