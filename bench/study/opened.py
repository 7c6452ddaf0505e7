"""A study that exists, opened for a look: nothing is repaired, begun or written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.study.config import StudyConfig
from bench.study.folder import find_journal
from bench.study.ledger import open_existing
from bench.study.storage import Place, open_journal_to_read, open_place

if TYPE_CHECKING:
    import optuna


@dataclass(frozen=True, eq=False)
class Opened:
    """A study in its storage.

    Args:
        place: the storage.
        study: Optuna's.
        config: what was asked.
    """

    place: Place
    study: optuna.Study
    config: StudyConfig


@contextmanager
def open_study(name: str, runs: Path, storage: str | None) -> Iterator[Opened]:
    """Open a study to read it, also while others work on it.

    Args:
        name: of the study.
        runs: folder of the run folders.
        storage: address; None: the journal.

    Raises:
        UserError: no such study, or its storage cannot be read.
    """
    import optuna

    if storage is None:
        journal = find_journal(runs, name)
        place = Place(open_journal_to_read(journal), str(journal), is_shared=False)
        config = open_existing(place, name)
        yield Opened(place, optuna.load_study(study_name=name, storage=place.storage), config)
        return
    with open_place(storage, runs, lambda text: None) as place:
        config = open_existing(place, name)
        yield Opened(place, optuna.load_study(study_name=name, storage=place.storage), config)
