"""What a run needs of this machine, each looked at within a time limit, each with a remedy.

Nothing here imports MLflow or trains: a doctor that takes minutes, or hangs on a dead server, is asked once.
"""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from bench.errors import BenchError
from bench.location import cache_folder
from bench.results import package_versions
from bench.tracking.settings import TrackingSettings, redact, resolve_uri, sqlite_path

LIMIT_S = 60.0
"""For one line; importing torch on a busy machine, or from a slow disk, takes most of it."""

SERVER_S = 5.0
"""For a tracking server to answer."""

_GIB = 2**30
_LITTLE_GIB = 5.0  # a cache of rendered faces takes about one, checkpoints of a large backbone a few
_NONE_GIB = 0.5


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Args:
        status: fail: a run cannot work; warn: something will be missing or slow.
        topic: what was looked at.
        text: what was found.
        remedy: what helps, where something does.
    """

    status: Literal["ok", "warn", "fail"]
    topic: str
    text: str
    remedy: str = ""


Check = Callable[[], Finding]


def examine(runs: Path) -> Iterator[Finding]:
    """Everything, in the order in which a run needs it; a check that hangs or breaks is a finding itself.

    Args:
        runs: folder of the run folders.
    """
    checks: dict[str, Check] = {
        "versions": _versions,
        "device": _device,
        "threads": _threads,
        "bf16": _bf16,
        "tracking": _tracking,
        "runs": lambda: _disk("runs", runs, "runtime.runs"),
        "cache": lambda: _disk("cache", cache_folder(), "BENCH_CACHE"),
        "data": _data,
        "extras": _extras,
    }
    for topic, check in checks.items():
        yield _within_limit(topic, check)


def _within_limit(topic: str, check: Check) -> Finding:
    found: list[Finding] = []

    def work() -> None:
        try:
            found.append(check())
        except BenchError as error:
            found.append(Finding("fail", topic, str(error)))
        except (
            Exception
        ) as error:  # the doctor survives what it looks at; nothing is hidden, it is the finding
            found.append(Finding("fail", topic, f"{type(error).__name__}: {error}", "report this as a bug"))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(LIMIT_S)
    if not found:
        return Finding(
            "fail", topic, f"no answer within {LIMIT_S:g} s", "look at what it waits for (disk, driver)"
        )
    return found[0]


def _versions() -> Finding:
    wanted = {name: version for name, version in package_versions().items() if name != "optuna"}
    text = f"Python {'.'.join(map(str, sys.version_info[:3]))}, " + ", ".join(
        f"{name} {version}" for name, version in wanted.items()
    )
    missing = [name for name, version in wanted.items() if version == "not installed"]
    if missing:
        return Finding("fail", "versions", text, f"pip install {' '.join(missing)}")
    return Finding("ok", "versions", text)


def _device() -> Finding:
    import torch

    count = torch.cuda.device_count()
    if count:
        names = ", ".join(f"cuda:{index} {torch.cuda.get_device_name(index)}" for index in range(count))
        return Finding("ok", "device", names)
    if torch.backends.mps.is_available():
        return Finding("ok", "device", "mps")
    if shutil.which("nvidia-smi"):
        return Finding(
            "warn",
            "device",
            f"cpu, although there is an NVIDIA driver: torch {torch.__version__} finds no CUDA device",
            "install the torch build for your driver, see pytorch.org",
        )
    return Finding("ok", "device", "cpu (no GPU)")


def _threads() -> Finding:
    import torch

    from bench.device import usable_cpus

    usable, threads = usable_cpus(), torch.get_num_threads()
    text = f"{usable} usable CPUs of {os.cpu_count()}, {threads} thread{'s' * (threads != 1)} by default"
    if threads > usable:
        return Finding(
            "warn", "threads", text, f"set runtime.threads={usable}: more only wait for each other"
        )
    return Finding("ok", "threads", text)


def _bf16() -> Finding:
    import torch

    from bench.device import check_bf16

    if torch.cuda.is_available():
        if torch.cuda.is_bf16_supported():
            return Finding("ok", "bf16", "works on the GPU")
        return Finding("warn", "bf16", "not on this GPU", "leave train.precision=float32")
    try:
        check_bf16(torch.device("cpu"))
    except BenchError as error:
        text, _, remedy = str(error).removeprefix("train.precision: bf16: ").partition("; ")
        return Finding("warn", "bf16", text, remedy)
    return Finding("ok", "bf16", "works on this CPU; whether it is faster depends on the backbone")


def _tracking() -> Finding:
    uri = resolve_uri(TrackingSettings())
    shown = redact(uri)
    origin = "MLFLOW_TRACKING_URI" if os.environ.get("MLFLOW_TRACKING_URI", "").strip() else "default"
    later = "start it, or train all the same: 'bench track sync' delivers later"
    database = sqlite_path(uri)
    if database is not None:
        return _sqlite(database, origin)
    address = urlsplit(uri)
    try:
        if address.scheme in ("http", "https"):
            _ask_server(uri)
        elif address.hostname and address.port:
            with socket.create_connection((address.hostname, address.port), timeout=SERVER_S):
                pass
        else:
            return Finding("warn", "tracking", f"{shown} ({origin}): not looked at, no host and port in it")
    except TimeoutError:
        return Finding("fail", "tracking", f"{shown} ({origin}): no answer within {SERVER_S:g} s", later)
    except OSError as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(reason, TimeoutError):
            return Finding("fail", "tracking", f"{shown} ({origin}): no answer within {SERVER_S:g} s", later)
        words = getattr(reason, "strerror", None) or str(reason)
        return Finding("fail", "tracking", f"{shown} ({origin}): {words}", later)
    return Finding("ok", "tracking", f"{shown} ({origin}) answers")


def _ask_server(uri: str) -> None:
    """An MLflow server says OK at /health; any HTTP answer at all shows that somebody is there."""
    # credentials stay out: /health asks for none
    address = urlsplit(uri)
    host = (address.netloc.rpartition("@")[2]) + address.path.rstrip("/")
    with closing(urllib.request.urlopen(f"{address.scheme}://{host}/health", timeout=SERVER_S)):
        pass


def _sqlite(database: Path, origin: str) -> Finding:
    folder = database.parent
    if not folder.is_dir():
        return Finding("fail", "tracking", f"{database} ({origin}): there is no folder {folder}", "create it")
    if not os.access(database if database.exists() else folder, os.W_OK):
        return Finding(
            "fail", "tracking", f"{database} ({origin}): not writable", "work in a folder of your own"
        )
    if not database.exists():
        return Finding("ok", "tracking", f"{database} ({origin}): to be created by the first run")
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=SERVER_S)) as connection:
            (tables,) = connection.execute("select count(*) from sqlite_master").fetchone()
    except sqlite3.Error as error:
        return Finding(
            "fail", "tracking", f"{database} ({origin}): {error}", "move it away; a new one is made"
        )
    return Finding("ok", "tracking", f"{database} ({origin}): {tables} tables")


def _disk(topic: str, folder: Path, setting: str) -> Finding:
    existing = folder.absolute()
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free / _GIB
    text = f"{folder}: {free:.1f} GiB free"
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        return Finding("fail", topic, f"{folder}: cannot be written", f"set {setting} to another folder")
    if free < _NONE_GIB:
        return Finding("fail", topic, text, f"free some, or set {setting} to another disk")
    if free < _LITTLE_GIB:
        return Finding("warn", topic, text, f"checkpoints may not fit; set {setting} to another disk")
    return Finding("ok", topic, text)


def _data() -> Finding:
    cache = cache_folder()
    prepared = len(list(cache.glob("*"))) if cache.is_dir() else 0
    rendered = f"rendered faces need no download ({prepared} entries in the cache)"
    root = os.environ.get("FACELOSS_DATA", "").strip()
    if not root:
        return Finding("ok", "data", f"{rendered}; real faces: FACELOSS_DATA is not set")
    folder = Path(root).expanduser()
    if not folder.is_dir():
        return Finding(
            "warn", "data", f"{rendered}; FACELOSS_DATA: {folder} is no folder", "unset or correct it"
        )
    files = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    if not files:
        return Finding("warn", "data", f"{rendered}; FACELOSS_DATA: {folder} is empty", "unset or correct it")
    shown = ", ".join(files[:8]) + (f" and {len(files) - 8} more" if len(files) > 8 else "")
    return Finding("ok", "data", f"{rendered}; FACELOSS_DATA: {folder}: {shown}")


def _extras() -> Finding:
    """Which optional dependencies are there, from the metadata of the installed package."""
    try:
        required = metadata.requires("faceloss-bench") or []
    except metadata.PackageNotFoundError:
        return Finding(
            "warn", "extras", "faceloss-bench itself is not installed", "pip install -e . in the checkout"
        )
    there, lacking = [], []
    for extra in metadata.metadata("faceloss-bench").get_all("Provides-Extra") or []:
        names = [
            line.partition(";")[0] for line in required if f'extra == "{extra}"' in line.replace("'", '"')
        ]
        packages = [_package(name) for name in names]
        missing = [name for name in packages if not _is_installed(name)]
        if missing:
            lacking.append(f"{extra} (lacks {', '.join(missing)})")
        else:
            there.append(extra)
    text = f"installed: {', '.join(there) or 'none'}"
    if lacking:
        text += f"; not: {', '.join(lacking)}"
    return Finding("ok", "extras", text)


def _package(requirement: str) -> str:
    name = requirement.strip()
    for end in "[<>=!~ (":
        name = name.partition(end)[0]
    return name


def _is_installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True
