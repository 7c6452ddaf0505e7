"""The winner of a study as a configuration of its own."""

from __future__ import annotations

from pathlib import Path

from bench.errors import UserError
from bench.study.config import StudyConfig
from bench.study.ledger import best_trials
from bench.study.opened import Opened, open_study


def best_config(name: str, runs: Path, storage: str | None, number: int | None) -> str:
    """YAML of the best trial, or of the one with that number.

    Args:
        name: of the study.
        runs: folder of the run folders.
        storage: address; None: the journal.
        number: of a trial; None: the best one.

    Raises:
        UserError: no such study or trial, or several that no other beats.
    """
    with open_study(name, runs, storage) as opened:
        return _chosen(opened, name, number)


def _chosen(opened: Opened, name: str, number: int | None) -> str:
    shown = opened.place.shown
    if number is None:
        winners = best_trials(opened.study)
        if not winners:
            raise UserError(f"{shown}: no trial of '{name}' is complete yet")
        if len(winners) > 1:
            numbers = ", ".join(str(winner.number) for winner in winners)
            raise UserError(f"{shown}: no single best of '{name}'; choose one with --trial: {numbers}")
        number = winners[0].number
    trials = opened.study.get_trials(deepcopy=False)
    if number >= len(trials):
        raise UserError(f"{shown}: '{name}' has no trial {number}; there are {len(trials)}, from 0")
    return _text(opened.config, number, trials[number].params)


def _text(config: StudyConfig, number: int, chosen: dict[str, object]) -> str:
    run = config.run_config(chosen, f"trial {number}", name=f"{config.name[:74]}-best")  # type: ignore[arg-type]
    return f"# Trial {number} of study {config.name}.\n{run.to_yaml()}"
