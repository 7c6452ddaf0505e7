"""Where runs are tracked: the store's address, made absolute, checked, and shown without its password."""

from __future__ import annotations

import logging
import os
import re
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from urllib.parse import urlsplit

from bench.errors import UserError, did_you_mean

logger = logging.getLogger("bench.tracking")

DEFAULT_EXPERIMENT = "faceloss-bench"
_SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql", "databricks")
# greedy up to the last @: a password may itself hold one
_CREDENTIALS = re.compile(r"(?<=://)[^\s?#]*@")
# user:password@host, its scheme forgotten
_BARE_CREDENTIALS = re.compile(r"(?<!\S)[^\s:/@]+:(?!//)[^\s?#]*@")
_SECRET_OPTIONS = re.compile(r"(?i)\b(\w*(?:password|passwd|pwd|token|secret|api_?key))=[^&\s'\"]*")


@dataclass(frozen=True, slots=True)
class TrackingSettings:
    """Where runs are tracked.

    Args:
        uri: address of the MLflow store, as MLFLOW_TRACKING_URI would hold it; None: that variable, else
            MLflow's own default, mlflow.db in the current folder. May hold a password: not in the repr.
        experiment: name of the MLflow experiment, created when missing; None: faceloss-bench.
        upload_checkpoint: also deliver the run's checkpoint.
    """

    uri: str | None = field(default=None, repr=False)
    experiment: str | None = None
    upload_checkpoint: bool = False

    @property
    def experiment_name(self) -> str:
        """The experiment that is meant."""
        return self.experiment or DEFAULT_EXPERIMENT


def redact(text: str) -> str:
    """The text without user names, passwords and tokens of the addresses in it."""
    hidden = _BARE_CREDENTIALS.sub("***@", _CREDENTIALS.sub("***@", text))
    return _SECRET_OPTIONS.sub(r"\1=***", hidden)


def resolve_uri(settings: TrackingSettings) -> str:
    """The store's address: `settings.uri`, else MLFLOW_TRACKING_URI, else mlflow.db in the current folder.

    Relative SQLite paths become absolute, so that the address means the same in every process.

    Raises:
        UserError: the address cannot be one of an MLflow store; says which rule it breaks.
    """
    if settings.uri:
        return _checked(settings.uri.strip(), "tracking URI")
    from_environment = os.environ.get("MLFLOW_TRACKING_URI", "").strip()
    if from_environment:
        return _checked(from_environment, "MLFLOW_TRACKING_URI")
    return f"sqlite:///{Path.cwd() / 'mlflow.db'}"


def sqlite_path(uri: str) -> Path | None:
    """The database file of an SQLite address; None for every other store."""
    if not uri.startswith("sqlite:"):
        return None
    return Path(uri.partition("?")[0].partition(":///")[2])


def hidden_by_old_store(uri: str) -> bool:
    """Whether a bare `mlflow ui` in the database's folder would look at an old file store instead.

    MLflow takes ./mlruns as its default as soon as one ./mlruns/<number>/meta.yaml exists, and then
    (3.13 and later) refuses to work with it.
    """
    database = sqlite_path(uri)
    if database is None or database.name != "mlflow.db":
        return False
    return any(meta.parent.name.isdigit() for meta in (database.parent / "mlruns").glob("*/meta.yaml"))


def _checked(uri: str, source: str) -> str:
    shown = redact(uri)
    scheme, colon, rest = uri.partition(":")
    dialect = scheme.partition("+")[0].lower()
    if uri == "databricks":
        return uri
    if re.fullmatch(r"\d+(/.*)?", rest) or ("@" in rest and not rest.startswith("//")):
        raise UserError(f"{source}: {shown} lacks its scheme; did you mean 'http://{shown}'?")
    if dialect == "file" or not colon or not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme):
        raise UserError(
            f"{source}: {shown} is a folder, and MLflow no longer stores runs in plain files; "
            "use sqlite:///mlflow.db or the address of a server"
        )
    if dialect not in _SCHEMES and scheme not in _plugin_schemes():
        raise UserError(
            f"{source}: {shown}: '{scheme}' is no store that MLflow knows ({', '.join(_SCHEMES)})"
            f"{did_you_mean(scheme, _SCHEMES)}"
        )
    if dialect in ("http", "https"):
        _check_host(uri, source)
    return _absolute_sqlite(uri, source) if dialect == "sqlite" else uri


def _check_host(uri: str, source: str) -> None:
    try:
        parts = urlsplit(uri)
        port_is_number = parts.port is None or parts.port > 0
    except ValueError:  # a port that is no number, or beyond 65535; a broken IPv6 address
        port_is_number = False
    if not port_is_number or not parts.hostname:
        raise UserError(
            f"{source}: {redact(uri)} must be http(s)://host:port with a port of 1 to 65535, "
            "as in http://127.0.0.1:5000"
        )


def _absolute_sqlite(uri: str, source: str) -> str:
    address, mark, options = uri.partition("?")
    start, slashes, path = address.partition(":///")
    if not slashes or path in ("", ":memory:"):
        raise UserError(
            f"{source}: {redact(uri)} names no database file, and what is only in memory is lost; "
            "use sqlite:///mlflow.db"
        )
    return f"{start}{slashes}{Path(path).absolute()}{mark}{options}"


def _plugin_schemes() -> set[str]:
    return {entry.name for entry in entry_points(group="mlflow.tracking_store")}
