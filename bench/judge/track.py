"""An evaluation as an MLflow run: its folder becomes one that `bench.tracking` delivers."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
import yaml
from pydantic import JsonValue

from bench import tracking
from bench.device import device_name, peak_memory_mib
from bench.judge.folder import Judged
from bench.judge.judgement import protocol_record
from bench.results import (
    Budget,
    Environment,
    RunFolder,
    RunRecord,
    Timing,
    code_version,
    cpu_name,
    new_state,
    now,
    package_versions,
    write_text,
)

# not among the runs: whoever compares those must not meet models that had no budget
EXPERIMENT = "faceloss-bench-evaluations"


def track_evaluation(
    folder: RunFolder,
    judged: Sequence[Judged],
    asked: Mapping[str, JsonValue],
    *,
    num_parameters: int,
    wall_s: float,
    device: torch.device,
    settings: tracking.TrackingSettings,
    report: Callable[[str], None],
) -> None:
    """Deliver a written evaluation. When the store is away, the folder waits for `bench track sync`.

    Args:
        folder: as `write_evaluation` left it.
        judged: its protocols.
        asked: the settings, MLflow's parameters.
        num_parameters: of the model; 0: unknown.
        wall_s: seconds that it took.
        device: that it took them on.
        settings: where to.
        report: is told problems, and the run's id.

    Raises:
        UserError: the settings cannot work.
        TrackingRefused: the store refuses.
    """
    settings = tracking.prepare(settings, report=report)
    # `bench track sync` reads from there where a folder belongs
    config = {**asked, "tracking": {"experiment": settings.experiment_name}}
    text = yaml.safe_dump(config, sort_keys=False)
    name, config_hash = folder.path.name, hashlib.sha256(text.encode()).hexdigest()
    folder.tracking.unlink(missing_ok=True)  # each evaluation is a run of its own
    write_text(folder.config, text)
    state = new_state(name, config_hash, 0).model_copy(update={"state": "FINISHED", "ended_at": now()})
    code = code_version()
    folder.write_record(
        RunRecord(
            name=name,
            description="an evaluation; nothing was trained",
            config_hash=config_hash,
            seed=0,
            data_name=", ".join(one.judgement.pairs.name for one in judged),
            data_checksum=_checksum(judged),
            test_alignment={one.judgement.pairs.name: one.alignment for one in judged if one.alignment},
            state="FINISHED",
            started_at=state.started_at,
            ended_at=state.started_at,
            config=config,
            num_parameters=num_parameters,
            budget=Budget(images=0, images_forward_only=0, steps=0, epochs=0.0),
            timing=Timing(wall_s=wall_s, parts_s={}, images_per_s=0.0),
            environment=Environment(
                python=platform.python_version(),
                platform=platform.platform(),
                cpu=cpu_name(),
                device=str(device),
                device_name=device_name(device),
                threads=torch.get_num_threads(),
                processes=1,
                packages=package_versions(),
                peak_memory_mib=peak_memory_mib(device),
            ),
            code=code,
            protocols={one.judgement.pairs.name: protocol_record(one.judgement) for one in judged},
        )
    )
    folder.write_state(state)
    try:
        delivery = tracking.deliver(folder, settings)
    except tracking.StoreUnreachable as error:
        report(f"{error.problem}; deliver it later with: bench track sync {folder.path.parent}")
        return
    report(f"MLflow run {delivery.run_id}")


def _checksum(judged: Sequence[Judged]) -> str:
    """Of the questions, not of the answers: two models on the same pairs have the same."""
    digest = hashlib.sha256()
    for one in judged:
        pairs = one.judgement.pairs
        digest.update("\n".join((pairs.name, *pairs.images)).encode())
        for array in (pairs.left, pairs.right, pairs.same, pairs.fold):
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
