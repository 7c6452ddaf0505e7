"""What is worth knowing of the machine and the code, without importing a heavy library for it."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path

from bench.results.record import Code

_PACKAGES = (
    "torch",
    "torchvision",
    "facenet-pytorch",
    "timm",
    "pytorch-metric-learning",
    "numpy",
    "mlflow",
    "optuna",
    "pydantic",
)


def package_versions() -> dict[str, str]:
    """Versions of the libraries that can change a result."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def cpu_name() -> str:
    """The processor's model name, as the kernel tells it on Linux."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def code_version() -> Code:
    """The installed version, and the commit when the package is imported from a checkout."""
    package = Path(__file__).resolve().parents[1]
    commit = dirty = None
    if (package.parent / ".git").exists():
        commit = _git(package, "rev-parse", "HEAD")
        changes = _git(package, "status", "--porcelain", "--untracked-files=no")
        dirty = None if changes is None else bool(changes)
    try:
        version = metadata.version("faceloss-bench")
    except metadata.PackageNotFoundError:  # a source tree on PYTHONPATH
        version = "0+unknown"
    return Code(version=version, git_commit=commit, git_dirty=dirty)


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
