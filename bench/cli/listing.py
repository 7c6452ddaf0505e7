"""`bench list`."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import click

from bench.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from losses.registry import Registry

_KINDS = ("losses", "backbones", "miners", "data", "batches", "optimizers", "schedules", "configs")


@click.command("list")
@click.argument(
    "kind",
    metavar=f"[{'|'.join(_KINDS)}]",
    shell_complete=lambda context, parameter, begun: [kind for kind in _KINDS if kind.startswith(begun)],
)
@click.argument("pattern", default="*")
@click.option(
    "--long", is_flag=True, help="Also options with defaults; of losses, paper, equation and proof."
)
def list_(kind: str, pattern: str, long: bool) -> None:
    """List what can be named in a configuration.

    PATTERN, such as 'pml:*', picks names; a family of another package's components is listed name by name
    when the pattern begins with its prefix.
    """
    if kind not in _KINDS:
        hint = did_you_mean(kind, _KINDS) or f"; there are {', '.join(_KINDS)}"
        raise UserError(f"'{kind}': nothing of that kind to list{hint}")
    if kind == "configs":
        from bench.config import shipped_configs

        rows = [row for row in shipped_configs().items() if fnmatchcase(row[0], pattern)]
        _print_found(rows, kind, pattern)
        return
    from bench.config.nested import as_plain
    from bench.config.options import unit
    from bench.config.yaml_text import yaml_inline

    registry = _registry(kind)
    rows = []
    for name in _names(registry, pattern):
        rows.append((name, registry.summary(name)))
        if long and kind == "losses":
            rows += _source_rows(registry, name)
        if long:
            rows += [
                (f"  {option}", f"= {yaml_inline(as_plain(default))} {unit(kind_of)}".rstrip())
                for option, (kind_of, default) in registry.options(name).items()
            ]
    if pattern == "*":
        rows += [
            (f"{prefix}:NAME", f"{family.summary}: bench list {kind} '{prefix}:*'")
            for prefix, family in registry.families().items()
        ]
    _print_found(rows, kind, pattern)


def _names(registry: Registry[Any], pattern: str) -> list[str]:
    from losses.families import MissingPackageError

    names = [name for name in registry.names() if fnmatchcase(name, pattern)]
    for prefix, family in registry.families().items():
        if not pattern.startswith(f"{prefix}:"):
            continue
        try:
            members = family.members(registry.kind, prefix)
        except MissingPackageError as error:
            raise UserError(str(error)) from None
        names += [name for name in members if fnmatchcase(name, pattern)]
    return names


def _source_rows(registry: Registry[Any], name: str) -> list[tuple[str, str]]:
    from losses import source

    origin = source(registry.get(name))
    rows = [
        ("  paper", origin.paper),
        ("  equation", origin.equation),
        ("  differs", origin.differs),
        ("  checked", origin.checked),
    ]
    return [row for row in rows if row[1]]


def _registry(kind: str) -> Registry[Any]:
    from bench.backbones import BACKBONES
    from bench.data import BATCHES, DATASETS
    from bench.optim import OPTIMIZERS
    from bench.schedules import SCHEDULES
    from losses import LOSSES, MINERS

    registries: dict[str, Registry[Any]] = {
        "losses": LOSSES,
        "backbones": BACKBONES,
        "miners": MINERS,
        "data": DATASETS,
        "batches": BATCHES,
        "optimizers": OPTIMIZERS,
        "schedules": SCHEDULES,
    }
    return registries[kind]


def _print_found(rows: list[tuple[str, str]], kind: str, pattern: str) -> None:
    if not rows:
        raise UserError(f"no {kind} like {pattern!r}; 'bench list {kind}' shows all")
    _print_rows(rows)


def _print_rows(rows: list[tuple[str, str]]) -> None:
    width = max((len(name) for name, _ in rows), default=0)
    for name, text in rows:
        click.echo(f"{name:<{width}}  {text}".rstrip())
