"""Finding configurations: a path that exists, or the name of one that ships with the package."""

from __future__ import annotations

from pathlib import Path

from bench.config.yaml_file import Node, child, read_yaml
from bench.errors import BenchError, UserError, did_you_mean

FRAGMENTS = "base"  # folder of parts that only `extends:` names; they are no experiments
COMPARISONS = "compare"  # folder of comparison files: several experiments each

_PACKAGE = Path(__file__).resolve().parents[1]


def shipped_folder() -> Path:
    """`bench/_configs` in an installed package, `configs/` in a checkout."""
    packaged = _PACKAGE / "_configs"
    return packaged if packaged.is_dir() else _PACKAGE.parent / "configs"


def shipped_configs() -> dict[str, str]:
    """Name (`center`, `facenet/center`) -> the file's description, for every experiment that ships."""
    folder = shipped_folder()
    return {name: _description(folder / f"{name}.yaml") for name in config_names()}


def config_names() -> list[str]:
    """The names alone; no file is read."""
    return [name for name in _names() if not name.startswith((f"{FRAGMENTS}/", f"{COMPARISONS}/"))]


def find_config(source: str | Path) -> Path:
    """The file that a person means by a path, or by the name of a shipped configuration.

    An existing file wins over a shipped name.

    Raises:
        UserError: neither; with the nearest shipped name.
    """
    found = find_file(Path(source), Path())
    if found is None:
        # short words are alike by chance: 'nothere' shares as much with 'center' as some slips share
        hint = did_you_mean(str(source).removesuffix(".yaml")[:100], config_names(), cutoff=0.7)
        hint = hint or (
            "; 'bench list configs' shows the shipped ones, and a setting is written path=value, such as "
            "loss.margin=0.3"
        )
        raise UserError(f"{source}: no such file, and no shipped configuration of that name{hint}")
    return found


def find_fragment(name: str, folder: Path) -> Path | None:
    """What `extends: name` in a file of `folder` means: beside that file, else among the shipped ones."""
    return find_file(Path(name), folder)


def find_file(path: Path, folder: Path) -> Path | None:
    """`path` in `folder`, else among the shipped configurations; `.yaml` may be left out."""
    for candidate in (folder / path, shipped_folder() / path):
        for file in (candidate, candidate.parent / f"{candidate.name}.yaml"):
            if _is_file(file):
                return file
    return None


def fragment_names() -> list[str]:
    """Everything below the shipped folder that `extends:` could name."""
    return [f"{name}.yaml" for name in _names()]


def shown(path: Path) -> str:
    """The path as messages show it: relative to the working folder when it lies below it."""
    absolute = path.resolve()
    here = Path.cwd()
    return str(absolute.relative_to(here)) if absolute.is_relative_to(here) else str(absolute)


def _names() -> list[str]:
    folder = shipped_folder()
    return sorted(str(path.relative_to(folder).with_suffix("").as_posix()) for path in folder.rglob("*.yaml"))


def _description(path: Path) -> str:
    try:
        node = read_yaml(path, shown(path))
    except BenchError as error:
        return f"unreadable: {error}"
    found: Node | None = child(node, "description")
    return found.value if found is not None and isinstance(found.value, str) else ""


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # names too long for the file system, or that hold a NUL
        return False
