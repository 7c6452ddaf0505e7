"""`bench list`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from losses.registry import Registry

_KINDS = ("losses", "backbones", "miners", "data", "batches", "optimizers", "schedules", "configs")


@click.command("list")
@click.argument("kind", type=click.Choice(_KINDS))
@click.option(
    "--long", is_flag=True, help="Also options with defaults; of losses, paper, equation and proof."
)
def list_(kind: str, long: bool) -> None:
    """List what can be named in a configuration."""
    if kind == "configs":
        from bench.config import shipped_configs

        _print_rows(list(shipped_configs().items()))
        return
    from bench.config.nested import as_plain
    from bench.config.yaml_text import yaml_inline

    registry = _registry(kind)
    rows = []
    for name in registry.names():
        rows.append((name, registry.summary(name)))
        if long and kind == "losses":
            rows += _source_rows(registry, name)
        if long:
            rows += [
                (f"  {option}", f"= {yaml_inline(as_plain(default))}")
                for option, (_, default) in registry.options(name).items()
            ]
    _print_rows(rows)


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


def _print_rows(rows: list[tuple[str, str]]) -> None:
    width = max((len(name) for name, _ in rows), default=0)
    for name, text in rows:
        click.echo(f"{name:<{width}}  {text}".rstrip())
