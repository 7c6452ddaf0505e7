"""Groups: the runs of one configuration on one data set, which differ in their seed alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.results import ProtocolRecord
from bench.verification import wilson
from reports.records import Run
from reports.statistics import Mean, mean

_SHARES_OF_ALL = ("accuracy",)
_SHARES_OF_GENUINE = ("val_at_far_", "val_exact_at_far_")


@dataclass(frozen=True, eq=False)
class Group:
    """Runs that differ in their seed alone.

    Args:
        label: unique in a report: the configuration's name, with more where two would be equal.
        runs: by seed.
    """

    label: str
    runs: tuple[Run, ...]

    @property
    def loss(self) -> str:
        """Registered name of the loss."""
        return str(self.runs[0].record.config.get("loss", {}).get("name", "unknown"))

    @property
    def hash8(self) -> str:
        """Start of the configuration's hash."""
        return self.runs[0].record.config_hash[:8]

    @property
    def data_checksum(self) -> str:
        """Of the images, labels and pairs that all its runs have."""
        return self.runs[0].record.data_checksum

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of its runs, ascending."""
        return tuple(run.record.seed for run in self.runs)

    def has(self, protocol: str) -> bool:
        """Whether each run was evaluated on the protocol."""
        return all(protocol in run.record.protocols for run in self.runs)

    def figures(self, protocol: str) -> list[ProtocolRecord]:
        """The protocol's figures, run by run."""
        return [run.record.protocols[protocol] for run in self.runs]

    def values(self, protocol: str, metric: str) -> list[float]:
        """A metric, run by run; nan where a run has it not."""
        return [figures.metrics.get(metric, math.nan) for figures in self.figures(protocol)]

    def by_seed(self, protocol: str, metric: str) -> dict[int, float]:
        """Seed -> metric."""
        return dict(zip(self.seeds, self.values(protocol, metric), strict=True))

    def estimate(self, protocol: str, metric: str) -> Mean:
        """The metric's mean over seeds and its t-interval, within what a share can be.

        One seed has no such interval. A share of pairs then has Wilson's, which knows of other pairs and
        nothing of other seeds; `reason` says so.
        """
        found = mean(self.values(protocol, metric))
        if found.count == 1 and not math.isnan(found.value):
            return _over_pairs(found, self.figures(protocol)[0], metric)
        if metric == "best_threshold" or math.isnan(found.low):
            return found
        return Mean(
            found.value, max(found.low, 0.0), min(found.high, 1.0), found.std, found.count, found.reason
        )


def make_groups(runs: Iterable[Run], order: Sequence[str] = ()) -> list[Group]:
    """Sort runs into groups.

    Args:
        runs: finished runs.
        order: names of configurations that come first, in this order; the others follow by name.
    """
    members: dict[tuple[str, str, str], list[Run]] = {}
    for run in runs:
        record = run.record
        members.setdefault((record.name, record.config_hash, record.data_checksum), []).append(run)
    place = {name: index for index, name in enumerate(order)}
    keys = sorted(members, key=lambda key: (place.get(key[0], len(place)), *key))
    return [
        Group(_label(key, keys), tuple(sorted(members[key], key=lambda run: run.record.seed))) for key in keys
    ]


def protocols_of(groups: Sequence[Group]) -> list[str]:
    """Protocols that any run was evaluated on."""
    return sorted({name for group in groups for run in group.runs for name in run.record.protocols})


def _label(key: tuple[str, str, str], keys: Sequence[tuple[str, str, str]]) -> str:
    name, config_hash, data = key
    namesakes = [other for other in keys if other[0] == name]
    more = []
    if len({other[1] for other in namesakes}) > 1:
        more.append(config_hash[:8])
    if len({other[2] for other in namesakes}) > 1:
        more.append(f"data {data[:8]}")
    return f"{name} ({', '.join(more)})" if more else name


def _over_pairs(found: Mean, figures: ProtocolRecord, metric: str) -> Mean:
    if metric in _SHARES_OF_ALL:
        trials = figures.num_genuine + figures.num_impostor
    elif metric.startswith(_SHARES_OF_GENUINE):
        trials = figures.num_genuine
    else:
        return found
    # a mean over folds is a share of all pairs: folds have equal sizes, or nearly
    low, high, *_ = wilson(round(found.value * trials), trials)
    return Mean(found.value, low, high, found.std, 1, "one seed: the interval is of the pairs alone")
