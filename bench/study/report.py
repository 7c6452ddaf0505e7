"""What a study has found: the report that `bench study` leaves, and `bench report --study` renews."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.config.yaml_file import Scalar
from bench.config.yaml_text import yaml_inline
from bench.errors import BenchError
from bench.results import RunFolder
from bench.study.config import StudyConfig
from bench.study.folder import study_path
from bench.study.ledger import best_trials, count
from bench.study.opened import open_study
from bench.study.space import Categorical, Entry
from reports.document import Command, Document, Figure, Heading, Paragraph, Table, bullets
from reports.numbers import minutes
from reports.pictures.search import search_pictures
from reports.report import Report
from reports.search import Objective, Search, Setting, Trial, TrialState, shown
from reports.writing import write_report as write_files

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

_MIN_FOR_IMPORTANCE = 4  # below, a regression tree tells nothing
_STATES: dict[str, TrialState] = {
    "COMPLETE": "complete",
    "PRUNED": "pruned",
    "FAIL": "failed",
    "RUNNING": "running",
    "WAITING": "waiting",
}


def write_report(study: Study, config: StudyConfig, folder: Path) -> None:
    """Write report.md, report.html, table.csv and figures/ anew.

    Args:
        study: as its storage has it.
        config: what was asked.
        folder: of the study.
    """
    write_files(make_report(study, config, folder), folder)


def make_report(study: Study, config: StudyConfig, folder: Path) -> Report:
    """The report of a study, at whatever point it stands; the same study gives the same bytes.

    Args:
        study: as its storage has it.
        config: what was asked.
        folder: of the study; its trials' records tell the budget, as far as they lie there.
    """
    search = read_search(study, config, folder)
    verdicts = _verdicts(search, config)
    document = Document(f"Study {config.name}")
    if config.base.description:
        document.add(Paragraph(config.base.description))
    document.add(bullets(verdicts))
    document.add(
        Paragraph(
            f"Sampler {config.sampler.name}, pruner {config.pruner.name}, "
            f"{' and '.join(map(str, config.objectives))}. Configuration {config.base.hash[:8]} with loss "
            f"{config.base.loss.name}."
        ),
        Paragraph(
            "Every figure here is of the validation people. A search picks the luckiest of many trials, so "
            "the best value is too good: the test, over several seeds, says what the winner is worth."
        ),
        Command((f"bench study best {config.name} > best.yaml", "bench run best.yaml --seeds 3")),
    )
    document.add(Heading("Searched"), _searched(search))
    document.add(Heading("Best" if len(search.best) < 2 else "Pareto front"), _best(search))
    _importance(document, search)
    document.add(Heading("Budget"), _budget(search))
    document.add(Paragraph(_budget_note(search)))
    _failures(document, search)
    if pictures := search_pictures(search):
        document.add(Heading("Figures"), *map(Figure, pictures))
    document.add(Heading("Trials"), _trials(search))
    return Report(tuple(verdicts), document, _csv(search), {})


def study_report(name: str, runs: Path, storage: str | None) -> Report:
    """The report of a study as it stands now, also while others work on it.

    Args:
        name: of the study.
        runs: folder of the run folders.
        storage: address; None: the journal.

    Raises:
        UserError: no such study, or its storage cannot be read.
    """
    with open_study(name, runs, storage) as opened:
        return make_report(opened.study, opened.config, study_path(runs, name))


def read_search(study: Study, config: StudyConfig, folder: Path) -> Search:
    """A study without Optuna's types."""
    trials = study.get_trials(deepcopy=False)
    spent = _spent(folder)
    return Search(
        objectives=tuple(Objective(one.metric, one.direction == "maximize") for one in config.objectives),
        settings=tuple(_setting(entry) for entry in config.space),
        trials=tuple(_trial(trial, spent.get(trial.number)) for trial in trials),
        best=tuple(sorted(one.number for one in best_trials(study))),
        importances=importances(study, config),
    )


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
        tags |= {f"best.{path}": _written(value) for path, value in best[0].chosen.items()}
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


def _setting(entry: Entry) -> Setting:
    domain = entry.domain
    if isinstance(domain, Categorical):
        return Setting(entry.path, str(entry), choices=tuple(shown(choice) for choice in domain.choices))
    return Setting(entry.path, str(entry), is_log=domain.log)


def _trial(trial: FrozenTrial, spent: tuple[int, float] | None) -> Trial:
    state = _STATES[trial.state.name]
    seconds = trial.duration.total_seconds() if trial.duration else None
    if spent is not None and seconds is not None:
        seconds = max(seconds, spent[1])  # Optuna counts from the last start
    return Trial(
        number=trial.number,
        state=state,
        values=tuple(trial.values) if state == "complete" else (),
        chosen=dict(trial.params),
        curve={step: value for step, value in trial.intermediate_values.items() if math.isfinite(value)},
        seconds=seconds,
        images=spent[0] if spent else None,
        reason=str(trial.user_attrs.get("error", "")),
    )


def _spent(folder: Path) -> dict[int, tuple[int, float]]:
    """Number -> images forward and backward, seconds over all starts; of trials whose records lie here."""
    found: dict[int, tuple[int, float]] = {}
    for path in sorted(folder.glob("trials/[0-9]*/*/record.json")):
        with suppress(BenchError):  # damaged: as good as none
            record = RunFolder(path.parent).record()
            if record is not None:
                number = int(path.parents[1].name)
                images, seconds = found.get(number, (0, 0.0))
                found[number] = images + record.budget.images, seconds + record.timing.wall_s
    return found


def _verdicts(search: Search, config: StudyConfig) -> list[str]:
    complete, pruned = len(search.of("complete")), len(search.of("pruned"))
    told = [
        f"{complete + pruned} of {config.settings.trials} trials finished: {complete} complete, {pruned} "
        f"pruned; {len(search.of('failed'))} failed."
    ]
    if not search.best:
        return [*told, "No trial is complete."]
    if len(search.objectives) > 1:
        numbers = ", ".join(map(str, search.best))
        return [*told, f"Beaten by no other in {' and '.join(_metrics(search))}: trial {numbers}."]
    winner = next(trial for trial in search.trials if trial.number == search.best[0])
    settings = ", ".join(f"{path}={shown(value)}" for path, value in winner.chosen.items())
    return [
        *told,
        f"Best {_metrics(search)[0]}: {winner.values[0]:.4f}, trial {winner.number} with {settings}.",
    ]


def _metrics(search: Search) -> list[str]:
    return [objective.metric for objective in search.objectives]


def _paths(search: Search) -> list[str]:
    return [setting.path for setting in search.settings]


def _searched(search: Search) -> Table:
    """What was searched; of a single winner, what it chose."""
    chosen = next((trial.chosen for trial in search.trials if search.best == (trial.number,)), None)
    rows = [
        (
            setting.path,
            setting.space,
            *([] if chosen is None else [shown(chosen[setting.path]) if setting.path in chosen else "-"]),
        )
        for setting in search.settings
    ]
    return Table(("setting", "range", *([] if chosen is None else ["best"])), tuple(rows), text_columns=3)


def _best(search: Search) -> Table | Paragraph:
    winners = [trial for trial in search.trials if trial.number in search.best]
    if not winners:
        return Paragraph("No trial is complete.")
    rows = [
        (str(one.number), *(f"{value:.4f}" for value in one.values), *_chosen(one, search)) for one in winners
    ]
    return Table(("trial", *_metrics(search), *_paths(search)), tuple(rows), text_columns=0)


def _chosen(trial: Trial, search: Search) -> list[str]:
    return [shown(trial.chosen[path]) if path in trial.chosen else "-" for path in _paths(search)]


def _importance(document: Document, search: Search) -> None:
    document.add(Heading("Importance"))
    if not search.importances:
        document.add(
            Paragraph(f"Not computed: that needs {_MIN_FOR_IMPORTANCE} complete trials that differ.")
        )
    for metric, shares in search.importances.items():
        rows = tuple((path, f"{share:.2f}") for path, share in shares.items())
        document.add(Table(("setting", f"share of the variance of {metric}"), rows))


def _budget(search: Search) -> Table:
    """What each kind of trial has cost."""
    rows = []
    for state in ("complete", "pruned", "failed"):
        trials = search.of(state)
        seconds = [one.seconds for one in trials if one.seconds is not None]
        images = [one.images for one in trials if one.images is not None]
        rows.append(
            (
                state,
                str(len(trials)),
                f"{sum(images):,}" if images or not trials else "not recorded",
                f"{np.median(images):,.0f}" if images else "-",
                minutes(sum(seconds)),
                f"{np.median(seconds):,.0f}" if seconds else "-",
            )
        )
    columns = ("trials", "number", "images", "images, median", "minutes, all", "seconds, median")
    return Table(columns, tuple(rows))


def _budget_note(search: Search) -> str:
    text = (
        "Images through forward and backward; minutes are those that trials took, which may run side "
        "by side; where a trial was interrupted, all its starts together."
    )
    ended = search.of("complete", "pruned", "failed")
    unknown = sum(one.images is None for one in ended)
    if unknown:
        text += f" Of {unknown} of {len(ended)} trials no record lies here: their images are not counted."
    return text


def _failures(document: Document, search: Search) -> None:
    failed = search.of("failed")
    if not failed:
        return
    reasons = Counter(one.reason or "not recorded" for one in failed)
    rows = tuple(
        (
            reason,
            str(number),
            ", ".join(str(one.number) for one in failed if (one.reason or "not recorded") == reason),
        )
        for reason, number in reasons.most_common()
    )
    document.add(Heading("Failures"), Table(("reason", "number", "trials"), rows))


def _trials(search: Search) -> Table:
    rows = [
        (
            str(one.number),
            one.state,
            *(f"{value:.4f}" for value in one.values or ()),
            *([""] * (len(search.objectives) - len(one.values))),
            *_chosen(one, search),
            "" if one.seconds is None else f"{one.seconds:.0f}",
            "" if one.images is None else f"{one.images:,}",
            one.reason,
        )
        for one in search.trials
    ]
    columns = ("trial", "state", *_metrics(search), *_paths(search), "seconds", "images", "note")
    return Table(columns, tuple(rows), text_columns=2)


def _csv(search: Search) -> str:
    """table.csv: a trial a row, in full digits; empty where there is nothing."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    columns = ("trial", "state", *_metrics(search), *_paths(search), "seconds", "images", "reason")
    writer.writerow(columns)
    for one in search.trials:
        values = [repr(value) for value in one.values] or [""] * len(search.objectives)
        chosen = ["" if path not in one.chosen else _exact(one.chosen[path]) for path in _paths(search)]
        reason = f"'{one.reason}" if one.reason[:1] in ("=", "+", "-", "@") else one.reason  # no formula
        writer.writerow(
            (
                one.number,
                one.state,
                *values,
                *chosen,
                "" if one.seconds is None else f"{one.seconds:.3f}",
                "" if one.images is None else one.images,
                reason,
            )
        )
    return stream.getvalue()


def _exact(value: Scalar) -> str:
    return repr(value) if isinstance(value, float) else shown(value)


def _written(value: Scalar) -> str:
    """For a tag, as a configuration would have it."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else yaml_inline(value)
