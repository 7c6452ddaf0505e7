"""What a study has found: figures and one page of Markdown, in its folder."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
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

    fANOVA over complete trials (Hutter et al., ICML 2014). Of conditional paths only those are compared that all
    trials have.
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
            target=lambda trial, index=index: trial.values[index],
        )
    return found


def _varies(trials: Sequence[FrozenTrial], path: str) -> bool:
    return len({trial.params[path] for trial in trials}) > 1


def _write_figures(study: Study, config: StudyConfig, folder: Path) -> list[tuple[str, str]]:
    """File name and caption of each figure."""
    complete = [trial for trial in study.get_trials(deepcopy=False) if trial.state.name == "COMPLETE"]
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.png"):
        old.unlink()
    if not complete:
        return []
    from optuna.visualization import matplotlib as plots

    made: list[tuple[str, str]] = []

    def make(name: str, caption: str, plot: Callable[[], Any]) -> None:
        _save(folder / f"{name}.png", plot())
        made.append((f"{name}.png", caption))

    if len(config.objectives) == 2:
        names = [objective.metric for objective in config.objectives]
        make(
            "pareto_front",
            "trials, and those that none beats in both figures",
            lambda: plots.plot_pareto_front(study, target_names=names),
        )
    shared = set.intersection(*(set(trial.params) for trial in complete))
    paths = [path for path in config.space.paths if path in shared]
    for index, objective in enumerate(config.objectives):
        tail = f"_{index}" if len(config.objectives) > 1 else ""
        options: dict[str, Any] = {"target_name": objective.metric}
        if len(config.objectives) > 1:
            options["target"] = lambda trial, index=index: trial.values[index]
        make(
            f"history{tail}",
            f"{objective.metric} by trial",
            lambda options=options: plots.plot_optimization_history(study, **options),
        )
        if paths:
            make(
                f"slice{tail}",
                f"{objective.metric} against each setting",
                lambda options=options: plots.plot_slice(study, params=paths, **options),
            )
        if len(paths) > 1 and len(complete) > 1:
            make(
                f"parallel_coordinate{tail}",
                "one line a trial",
                lambda options=options: plots.plot_parallel_coordinate(study, params=paths, **options),
            )
    if len(config.objectives) == 1:
        make(
            "intermediate_values",
            f"{config.objectives[0].metric} at each evaluation of each trial",
            lambda: plots.plot_intermediate_values(study),
        )
    for metric, shares in importances(study, config).items():
        name = (
            f"importance_{list(importances(study, config)).index(metric)}"
            if len(config.objectives) > 1
            else "importance"
        )
        make(
            name, f"share of each setting in the variance of {metric}", lambda s=shares, m=metric: _bars(s, m)
        )
    return made


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


def _page(study: Study, config: StudyConfig, figures: Sequence[tuple[str, str]]) -> str:
    trials = study.get_trials(deepcopy=False)
    counts = count(trials)
    best = best_trials(study)
    lines = [
        f"# Study {config.name}",
        "",
        config.base.description or "",
        "",
        f"{counts.finished} of {config.settings.trials} trials finished: {counts.complete} complete, {counts.pruned} pruned; "
        f"{counts.failed} failed. Sampler {config.sampler.name}, pruner {config.pruner.name}, "
        f"{' and '.join(map(str, config.objectives))}. Configuration {config.base.hash[:8]} with "
        f"loss {config.base.loss.name}.",
        "",
        "Every figure here is of the validation people. A search picks the luckiest of many trials, so the best "
        "value is too good: the test, over several seeds, says what the winner is worth "
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
        lines.append(
            f"Not computed: that needs {_MIN_FOR_IMPORTANCE} complete trials whose settings and values differ."
        )
    for metric, by_path in shares.items():
        rows = [[path, f"{share:.2f}"] for path, share in by_path.items()]
        lines += [*_table(["setting", f"share of the variance of {metric}"], rows), ""]
    lines += ["", "## Figures", ""]
    for name, caption in figures:
        lines += [f"![{caption}](figures/{name})", "", f"*{caption}*", ""]
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
