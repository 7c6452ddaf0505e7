"""Optuna's dashboard opens the journal of a study; asked as a browser asks it, without a port."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest

from bench.study.ledger import Ledger

pytestmark = pytest.mark.services


def test_the_dashboard_shows_the_study_and_its_trials(open_ledger: Callable[..., Ledger]) -> None:
    dashboard = pytest.importorskip(
        "optuna_dashboard", reason="needs optuna-dashboard (the extra 'services')"
    )
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    ledger = open_ledger()
    claim = ledger.claim()
    assert claim is not None
    ledger.report(claim, 12, {"validation/accuracy": 0.75})
    ledger.complete(claim, {"validation/accuracy": 0.875})

    journal = JournalStorage(JournalFileBackend("runs/studies/my/journal.log"))  # as its command opens it
    app = dashboard.wsgi(journal)

    def get(path: str) -> Any:
        request: dict[str, Any] = {"PATH_INFO": path}
        setup_testing_defaults(request)
        answers: list[str] = []
        body = b"".join(app(request, lambda status, headers, error=None: answers.append(status)))
        assert answers == ["200 OK"]
        return json.loads(body)

    (summary,) = get("/api/studies")["study_summaries"]
    assert summary["study_name"] == "my"
    study = get(f"/api/studies/{summary['study_id']}")
    (trial,) = study["trials"]
    assert trial["state"] == "Complete"
    assert trial["values"] == [0.875]
    assert [point["value"] for point in trial["intermediate_values"]] == [0.75]
