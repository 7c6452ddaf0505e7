"""Faces for a report: what the weights of runs make of a few people of the test.

Only rendered faces come as pictures; of real ones there are embeddings alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from bench.data import DATASETS, Data, PairProtocol, cache_folder
from bench.embed import embed
from bench.errors import BenchError
from bench.trained import Trained, load_trained
from bench.verification import find_hardest, normalize
from reports.faces import Faces, HardPair
from reports.groups import Group
from reports.pictures.people import MOST_PEOPLE, PAIRS_A_ROW
from reports.records import Gap, Run

_FACES_A_PERSON = 12
_BATCH = 64


def faces_of(groups: Sequence[Group]) -> tuple[list[Faces], list[Gap]]:
    """The first run of each group on the first people of each of its tests, all groups on the same faces.

    Args:
        groups: of a report.

    Returns:
        What there is, and why a group is not among them.
    """
    found: list[Faces] = []
    gaps: list[Gap] = []
    opened: dict[str, Data] = {}
    for group in groups:
        run = group.runs[0]
        if run.folder is None or not run.folder.checkpoints.is_dir():
            continue  # of records alone nothing can be embedded: the rest of the report says as much
        try:
            trained = load_trained(run.folder.path, torch.device("cpu"))
            data = _data_of(trained, opened)
            if data.checksum != run.record.data_checksum:
                gaps.append(Gap(run.title, "no embedding map: its data have changed since"))
                continue
            for protocol in data.tests:
                if protocol.name in run.record.protocols:
                    found.append(_faces(group.label, run, trained, protocol))
        except BenchError as error:
            gaps.append(Gap(run.title, f"no embedding map: {error}"))
    return found, gaps


def _data_of(trained: Trained, opened: dict[str, Data]) -> Data:
    wanted = trained.config.data
    key = repr(wanted)
    if key not in opened:
        opened[key] = DATASETS.build(wanted.name, {"cache": cache_folder()}, wanted.options)
    return opened[key]


def _faces(label: str, run: Run, trained: Trained, protocol: PairProtocol) -> Faces:
    rows, people = _chosen(protocol)
    evaluation = trained.config.evaluate
    embeddings = embed(
        trained.backbone,
        protocol.faces.images[rows],
        device=torch.device("cpu"),
        batch_size=_BATCH,
        preprocess=trained.preprocess,
        flip=evaluation.flip,
        precision=trained.config.train.precision,
    )
    points = normalize(embeddings).astype(np.float64)
    if run.record.data_name != "rendered":
        return Faces(label, protocol.name, run.record.seed, points, people)
    first = [int(np.flatnonzero(people == person)[0]) for person in range(int(people.max()) + 1)]
    accepts, rejects = _hardest(run, protocol)
    portraits = protocol.faces.images[rows[first]]
    return Faces(label, protocol.name, run.record.seed, points, people, portraits, accepts, rejects)


def _chosen(protocol: PairProtocol) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of the faces, and whose each is: those with the most images; where they tie, the first."""
    labels = protocol.faces.labels
    counts = np.bincount(labels)
    several = np.flatnonzero(counts >= 2)
    chosen = several[np.argsort(-counts[several], kind="stable")][:MOST_PEOPLE]
    rows = [np.flatnonzero(labels == person)[:_FACES_A_PERSON] for person in chosen]
    people = np.repeat(np.arange(len(rows)), [len(own) for own in rows])
    return np.concatenate(rows).astype(np.int64), people.astype(np.int64)


def _hardest(run: Run, protocol: PairProtocol) -> tuple[tuple[HardPair, ...], tuple[HardPair, ...]]:
    pairs = run.pairs(protocol.name)
    if pairs is None:
        return (), ()
    threshold = run.record.protocols[protocol.name].metrics["best_threshold"]
    hardest = find_hardest(pairs.distances, pairs.same, threshold=threshold, count=PAIRS_A_ROW)

    def shown(places: NDArray[np.intp]) -> tuple[HardPair, ...]:
        left, right = (protocol.faces.images[pairs.sides[places, side]] for side in (0, 1))
        distances = pairs.distances[places].tolist()
        return tuple(map(HardPair, left, right, distances))

    return shown(hardest.false_accepts), shown(hardest.false_rejects)
