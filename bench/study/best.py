"""The winner of a study as a configuration of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import UserError
from bench.study.config import StudyConfig
from bench.study.folder import find_journal
from bench.study.ledger import best_trials, open_existing
from bench.study.storage import Place, open_journal_to_read, open_place

if TYPE_CHECKING:
    import optuna


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
    import optuna

    if storage is None:
        journal = find_journal(runs, name)
        place = Place(open_journal_to_read(journal), str(journal), is_shared=False)
        return _chosen(place, optuna.load_study(study_name=name, storage=place.storage), name, number)
    with open_place(storage, runs, lambda text: None) as place:
        open_existing(place, name)
        return _chosen(place, optuna.load_study(study_name=name, storage=place.storage), name, number)


def _chosen(place: Place, study: optuna.Study, name: str, number: int | None) -> str:
    config = open_existing(place, name)
    if number is None:
        winners = best_trials(study)
        if not winners:
            raise UserError(f"{place.shown}: no trial of '{name}' is complete yet")
        if len(winners) > 1:
            numbers = ", ".join(str(winner.number) for winner in winners)
            raise UserError(f"{place.shown}: no single best of '{name}'; choose one with --trial: {numbers}")
        number = winners[0].number
    trials = study.get_trials(deepcopy=False)
    if number >= len(trials):
        raise UserError(f"{place.shown}: '{name}' has no trial {number}; there are {len(trials)}, from 0")
    chosen = trials[number].params
    return _text(config, number, chosen)


def _text(config: StudyConfig, number: int, chosen: dict[str, object]) -> str:
    run = config.run_config(chosen, f"trial {number}", name=f"{config.name[:74]}-best")  # type: ignore[arg-type]
    return f"# Trial {number} of study {config.name}.\n{run.to_yaml()}"
