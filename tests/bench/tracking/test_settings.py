from __future__ import annotations

import re

import pytest

from bench.errors import UserError
from bench.tracking import TrackingSettings
from bench.tracking.settings import hidden_by_old_store, redact, resolve_uri


@pytest.fixture(autouse=True)
def no_uri_from_outside(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_bare_default_is_the_database_of_a_bare_mlflow_ui(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert resolve_uri(TrackingSettings()) == f"sqlite:///{tmp_path}/mlflow.db"


def test_settings_win_over_the_environment(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert resolve_uri(TrackingSettings()) == "http://127.0.0.1:5000"
    assert resolve_uri(TrackingSettings(uri="http://127.0.0.1:6000")) == "http://127.0.0.1:6000"


def test_relative_database_means_the_same_in_every_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert resolve_uri(TrackingSettings(uri="sqlite:///a/x.db")) == f"sqlite:///{tmp_path}/a/x.db"
    assert resolve_uri(TrackingSettings(uri="sqlite:////b/x.db?timeout=5")) == "sqlite:////b/x.db?timeout=5"


@pytest.mark.parametrize(
    "uri",
    [
        "postgresql+psycopg://u:p@db/mlflow",
        "https://host/path",
        "mysql://db/x",
        "databricks",
        "databricks://p",
    ],
)
def test_addresses_that_mlflow_knows_pass_unchanged(uri):
    assert resolve_uri(TrackingSettings(uri=uri)) == uri


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        (
            "htp://127.0.0.1:5000",
            "tracking URI: htp://127.0.0.1:5000: 'htp' is no store that MLflow knows (http, https, sqlite, "
            "postgresql, mysql, mssql, databricks); did you mean 'http'?",
        ),
        (
            "localhost:5000",
            "tracking URI: localhost:5000 lacks its scheme; did you mean 'http://localhost:5000'?",
        ),
        (
            "http://:5000",
            "tracking URI: http://:5000 must be http(s)://host:port with a port of 1 to 65535, as in "
            "http://127.0.0.1:5000",
        ),
        (
            "http://host:99999",
            "tracking URI: http://host:99999 must be http(s)://host:port with a port of 1 to 65535, as in "
            "http://127.0.0.1:5000",
        ),
        (
            "./mlruns",
            "tracking URI: ./mlruns is a folder, and MLflow no longer stores runs in plain files; "
            "use sqlite:///mlflow.db or the address of a server",
        ),
        (
            "file:///x/mlruns",
            "tracking URI: file:///x/mlruns is a folder, and MLflow no longer stores runs in plain files; "
            "use sqlite:///mlflow.db or the address of a server",
        ),
        (
            "sqlite://",
            "tracking URI: sqlite:// names no database file, and what is only in memory is lost; "
            "use sqlite:///mlflow.db",
        ),
        (
            "sqlite:///:memory:",
            "tracking URI: sqlite:///:memory: names no database file, and what is only in memory is lost; "
            "use sqlite:///mlflow.db",
        ),
    ],
)
def test_malformed_address_says_rule_value_and_remedy(uri, message):
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        resolve_uri(TrackingSettings(uri=uri))


def test_malformed_address_names_the_variable_and_hides_the_password(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "htps://ada:love@lace@host:1/?token=abc")
    with pytest.raises(UserError) as caught:
        resolve_uri(TrackingSettings())
    assert str(caught.value).startswith(
        "MLFLOW_TRACKING_URI: htps://***@host:1/?token=***: 'htps' is no store"
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://host:5000", "http://host:5000"),
        ("at http://u:p@host:5000/x (no)", "at http://***@host:5000/x (no)"),
        ("postgresql+psycopg://u:p%40/s@db/x?sslmode=on", "postgresql+psycopg://***@db/x?sslmode=on"),
        ("mysql://db/x?user=u&password=p&ssl=1", "mysql://db/x?user=u&password=***&ssl=1"),
        ("mail ada@example.org", "mail ada@example.org"),
        ("at ada:p@ss@host:5000 (no)", "at ***@host:5000 (no)"),
    ],
)
def test_credentials_are_not_shown(text, shown):
    assert redact(text) == shown


def test_settings_do_not_show_their_address():
    assert "secret" not in repr(TrackingSettings(uri="http://ada:secret@host"))


def test_old_file_store_hides_the_database_from_a_bare_ui(tmp_path):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    (tmp_path / "mlruns" / "3f2a").mkdir(parents=True)
    (tmp_path / "mlruns" / "3f2a" / "meta.yaml").touch()
    assert not hidden_by_old_store(uri)
    (tmp_path / "mlruns" / "0").mkdir()
    (tmp_path / "mlruns" / "0" / "meta.yaml").touch()
    assert hidden_by_old_store(uri)
    assert not hidden_by_old_store(f"sqlite:///{tmp_path}/other.db")
    assert not hidden_by_old_store("http://127.0.0.1:5000")
