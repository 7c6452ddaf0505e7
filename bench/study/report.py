"""What a study has found: figures and one page of Markdown, in its folder."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.config.yaml_file import Scalar
from bench.config.yaml_text import yaml_inline
from bench.results import atomic_file, write_text
from bench.study.config import StudyConfig
from bench.study.ledger import best_trials, count

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

_MIN_FOR_IMPORTANCE = 4  # below, a regression tree tells nothing


def write_report(study: Study, config: StudyConfig, folder: Path) -> None:
    """Write report.md and figures/*.png anew.

    Args:
        study: as its storage has it.
        config: what was asked.
        folder: of the study.
    """
    figures = _write_figures(study, config, folder / "figures")
    write_text(folder / "report.md", _page(study, config, figures))


def best_tags(study: Study, config: StudyConfig) -> dict[str, str]:
    """The outcome in a few words, as tags of the study's own run."""
    counts = count(study.get_trials(deepcopy=False))
    tags = {
        "trials_complete": str(counts.complete),
        "trials_pruned": str(counts.pruned),
        "trials_failed": str(counts.failed),
    }
    best = best_trials(study)
    if best:
        tags["best_trial"] = ", ".join(str(trial.number) for trial in best)
    if len(best) == 1:
        tags |= {f"best.{path}": _shown(value) for path, value in best[0].chosen.items()}
        tags["best_value"] = repr(best[0].values[0])
        run_id = study.user_attrs.get(f"mlflow_run_id:{best[0].number}")
        if run_id is not None:
            tags["best_run_id"] = run_id
    return tags


def importances(study: Study, config: StudyConfig) -> dict[str, dict[str, float]]:
    """Objective -> path -> share of the objective's variance, largest first; empty where trials are too few.

    fANOVA over complete trials (Hutter et al., ICML 2014), of the paths that all of them have.
    """
    import optuna

    complete = [trial for trial in study.get_trials(deepcopy=False) if trial.state.name == "COMPLETE"]
    shared = set.intersection(*(set(trial.params) for trial in complete)) if complete else set()
    varied = [path for path in config.space.paths if path in shared and _varies(complete, path)]
    found: dict[str, dict[str, float]] = {}
    for index, objective in enumerate(config.objectives):
        values = {trial.values[index] for trial in complete if math.isfinite(trial.values[index])}
        if len(complete) < _MIN_FOR_IMPORTANCE or len(values) < 2 or not varied:
            continue
        found[objective.metric] = optuna.importance.get_param_importances(
            study,
            evaluator=optuna.importance.FanovaImportanceEvaluator(seed=config.settings.seed),
            params=varied,
            target=partial(_value, index),
        )
    return found


def _value(index: int, trial: FrozenTrial) -> float:
    return float(trial.values[index])


def _varies(trials: Sequence[FrozenTrial], path: str) -> bool:
    return len({trial.params[path] for trial in trials}) > 1


@dataclass(frozen=True)
class _Figure:
    name: str
    caption: str
    axes: Any  # of matplotlib: one, or an array of them


def _write_figures(study: Study, config: StudyConfig, folder: Path) -> list[_Figure]:
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.png"):
        old.unlink()
    figures = []
    for figure in _figures(study, config):
        _save(folder / f"{figure.name}.png", figure.axes)
        figures.append(figure)
    return figures


def _figures(study: Study, config: StudyConfig) -> Iterator[_Figure]:
    complete = [trial for trial in study.get_trials(deepcopy=False) if trial.state.name == "COMPLETE"]
    if not complete:
        return
    from optuna.visualization import matplotlib as plots

    metrics = [objective.metric for objective in config.objectives]
    if len(metrics) == 2:
        axes = plots.plot_pareto_front(study, target_names=metrics)
        yield _Figure("pareto_front", "trials, and those that none beats in both figures", axes)
    for index in range(len(metrics)):
        yield from _figures_of(study, config, complete, index)
    if len(metrics) == 1:
        caption = f"{metrics[0]} at each evaluation of each trial"
        yield _Figure("intermediate_values", caption, plots.plot_intermediate_values(study))
    for metric, shares in importances(study, config).items():
        caption = f"share of each setting in the variance of {metric}"
        yield _Figure(f"importance{_tail(config, metric)}", caption, _bars(shares, metric))


def _figures_of(
    study: Study, config: StudyConfig, complete: Sequence[FrozenTrial], index: int
) -> Iterator[_Figure]:
    """History, slices and parallel coordinates of one objective, over settings that all have and vary."""
    from optuna.visualization import matplotlib as plots

    metric = config.objectives[index].metric
    tail = _tail(config, metric)
    shared = set.intersection(*(set(trial.params) for trial in complete))
    paths = [path for path in config.space.paths if path in shared and _varies(complete, path)]
    options: dict[str, Any] = {"target_name": metric}
    if len(config.objectives) > 1:
        options["target"] = partial(_value, index)
    history = plots.plot_optimization_history(study, **options)
    yield _Figure(f"history{tail}", f"{metric} by trial", history)
    if paths:
        slices = plots.plot_slice(study, params=paths, **options)
        yield _Figure(f"slice{tail}", f"{metric} against each setting", slices)
    if len(paths) > 1:
        parallel = plots.plot_parallel_coordinate(study, params=paths, **options)
        yield _Figure(f"parallel_coordinate{tail}", "one line a trial", parallel)


def _tail(config: StudyConfig, metric: str) -> str:
    return f"-{metric.rpartition('/')[2]}" if len(config.objectives) > 1 else ""


def _bars(shares: dict[str, float], metric: str) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 1 + 0.4 * len(shares)), layout="constrained")
    axes = figure.subplots()
    paths = list(shares)[::-1]
    axes.barh(paths, [shares[path] for path in paths])
    axes.set_xlabel(f"share of the variance of {metric}")
    axes.set_xlim(0, 1)
    return axes


def _save(path: Path, axes: Any) -> None:
    import numpy as np

    first = axes.flat[0] if isinstance(axes, np.ndarray) else axes
    figure = first.get_figure()
    with atomic_file(path) as stream:
        figure.savefig(stream, format="png", dpi=120, bbox_inches="tight")
    from matplotlib import pyplot

    pyplot.close(figure)


def _page(study: Study, config: StudyConfig, figures: Sequence[_Figure]) -> str:
    trials = study.get_trials(deepcopy=False)
    counts = count(trials)
    best = best_trials(study)
    lines = [
        f"# Study {config.name}",
        "",
        *([config.base.description, ""] if config.base.description else []),
        f"{counts.finished} of {config.settings.trials} trials finished: {counts.complete} complete, "
        f"{counts.pruned} pruned; {counts.failed} failed. Sampler {config.sampler.name}, "
        f"pruner {config.pruner.name}, {' and '.join(map(str, config.objectives))}. "
        f"Configuration {config.base.hash[:8]} with loss {config.base.loss.name}.",
        "",
        "Every figure here is of the validation people. A search picks the luckiest of many trials, so the "
        "best value is too good: the test, over several seeds, says what the winner is worth "
        f"(`bench study best {config.name} > best.yaml`, then `bench run best.yaml --seeds 3`).",
        "",
        "## Searched",
        "",
        *_table(["setting", "range", *(["best"] if len(best) == 1 else [])], _searched(config, best)),
        "",
        "## Best" if len(best) < 2 else "## Pareto front",
        "",
    ]
    if best:
        header = ["trial", *(objective.metric for objective in config.objectives), *config.space.paths]
        rows = [
            [
                str(one.number),
                *(f"{value:.4f}" for value in one.values),
                *(_shown(one.chosen[path]) if path in one.chosen else "" for path in config.space.paths),
            ]
            for one in best
        ]
        lines += _table(header, rows)
    else:
        lines.append("No trial is complete.")
    lines += ["", "## Importance", ""]
    shares = importances(study, config)
    if not shares:
        lines.append(f"Not computed: that needs {_MIN_FOR_IMPORTANCE} complete trials that differ.")
    for metric, by_path in shares.items():
        rows = [[path, f"{share:.2f}"] for path, share in by_path.items()]
        lines += [*_table(["setting", f"share of the variance of {metric}"], rows), ""]
    lines += ["", "## Figures", ""]
    for figure in figures:
        lines += [f"![{figure.caption}](figures/{figure.name}.png)", "", f"*{figure.caption}*", ""]
    lines += ["## Trials", ""]
    header = [
        "trial",
        "state",
        *(o.metric for o in config.objectives),
        *config.space.paths,
        "seconds",
        "note",
    ]
    lines += _table(header, [_row(trial, config) for trial in trials])
    return "\n".join(lines) + "\n"


def _searched(config: StudyConfig, best: Sequence[Any]) -> list[list[str]]:
    rows = []
    for entry in config.space:
        row = [entry.path, str(entry)]
        if len(best) == 1:
            row.append(_shown(best[0].chosen[entry.path]) if entry.path in best[0].chosen else "")
        rows.append(row)
    return rows


def _row(trial: FrozenTrial, config: StudyConfig) -> list[str]:
    values = trial.values or [math.nan] * len(config.objectives)
    seconds = f"{trial.duration.total_seconds():.0f}" if trial.duration else ""
    return [
        str(trial.number),
        trial.state.name,
        *("" if math.isnan(value) else f"{value:.4f}" for value in values),
        *(_shown(trial.params[path]) if path in trial.params else "" for path in config.space.paths),
        seconds,
        str(trial.user_attrs.get("error", "")).replace("|", "/"),
    ]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [
        "| " + " | ".join(header) + " |",
        "|" + "---|" * len(header),
        *("| " + " | ".join(row) + " |" for row in rows),
    ]


def _shown(value: Scalar) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else yaml_inline(value)
