"""The table of docs/distributed.md: memory and time a process takes for a classifier of many identities.

python docs/many_classes.py              writes the table from docs/many_classes.json
python docs/many_classes.py --measure    measures anew first; takes some GiB and minutes, and Linux
python docs/many_classes.py --measure 4  so many processes alone
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

FIGURES = Path(__file__).with_suffix(".json")
PAGE = Path(__file__).with_name("distributed.md")
_TABLE = re.compile(r"(<!-- generated: many_classes -->\n).*?(<!-- end -->)", re.DOTALL)

LOSS, DIM, BATCH = "cosface", 128, 128
CLASSES, PROCESSES, RATES = (10_000, 100_000, 1_000_000), (1, 2, 4), (1.0, 0.1)
STEPS = {10_000: 8, 100_000: 4, 1_000_000: 1}

# glibc keeps freed blocks of up to 32 MiB; told so, it returns them at once, and the peak is that of tensors.
_ALONE = {"OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "262144"}
_MIB = 2**20


def current(page: str) -> str:
    """The page with the table as the figures have it."""
    return _TABLE.sub(lambda found: found[1] + table(json.loads(FIGURES.read_text())) + found[2], page)


def table(figures: dict[str, Any]) -> str:
    """Where the figures come from, and a row for each number of classes and sample rate."""
    cells = {(row["classes"], row["sample_rate"], row["processes"]): row for row in figures["rows"]}
    head = ["classes", "sample_rate", *(f"{_several(count)}" for count in PROCESSES)]
    lines = [head, ["---", "---", *(["---"] * len(PROCESSES))]]
    for classes in CLASSES:
        for rate in RATES:
            own = (cells.get((classes, rate, count)) for count in PROCESSES)
            lines.append([f"{classes:,}", f"{rate:g}", *map(_cell, own)])
    return "".join("| " + " | ".join(line) + " |\n" for line in lines) + "\n" + _origins(figures["runs"])


def _origins(runs: dict[str, dict[str, Any]]) -> str:
    lines = []
    for processes, run in sorted(runs.items(), key=lambda entry: int(entry[0])):
        dirty = ", with changes" if run["dirty"] else ""
        lines.append(
            f"* {_several(int(processes))}: `{run['command']}`, {run['date'][:10]}, "
            f"commit {run['commit'][:8]}{dirty}, {run['cpu']}, {run['cores']} cores "
            f"(load {run['load']:g} at the start), one thread a process; `{run['loss']}`, "
            f"D = {run['dim']}, global batch {run['batch']}, AdamW, float32.\n"
        )
    return "".join(lines)


def _several(count: int) -> str:
    return f"{count} process" if count == 1 else f"each of {count} processes"


def _cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return "not measured"
    seconds = row["cpu_s"]
    time_spent = f"{seconds * 1e3:.0f} ms" if seconds < 1.0 else f"{seconds:.1f} s"
    return f"{row['peak_mib']:,.0f} MiB, {time_spent}"


def measure(processes: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Where the rows come from, and a row for each number of classes and sample rate, in new processes."""
    from bench.results import code_version, cpu_name, now

    code = code_version()
    run = {
        "command": f"python docs/many_classes.py --measure {processes}",
        "date": now(),
        "commit": code.git_commit,
        "dirty": code.git_dirty,
        "cpu": cpu_name(),
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 1),
        "loss": LOSS,
        "dim": DIM,
        "batch": BATCH,
    }
    with tempfile.TemporaryDirectory() as folder:
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        command = [sys.executable, *launcher, __file__, "--child", folder]
        subprocess.run(command, check=True, env={**os.environ, **_ALONE})
        ranks = [json.loads(path.read_text()) for path in sorted(Path(folder).iterdir())]
    measured = []
    for rows in zip(*ranks, strict=True):  # of the process that takes most
        most = {key: max(row[key] for row in rows) for key in ("peak_mib", "cpu_s", "wall_s")}
        measured.append({**rows[0], **most, "processes": processes})
    return run, measured


def _keep(run: dict[str, Any], measured: list[dict[str, Any]]) -> None:
    """Put them in the place of those of as many processes."""
    figures = json.loads(FIGURES.read_text()) if FIGURES.exists() else {"runs": {}, "rows": []}
    processes = measured[0]["processes"]
    figures["runs"][str(processes)] = run
    figures["rows"] = [row for row in figures["rows"] if row["processes"] != processes] + measured
    FIGURES.write_text(json.dumps(figures, indent=1) + "\n")


def _child(folder: Path) -> None:
    """One process: what a training step does with the loss, and how far the memory grows meanwhile."""
    import torch

    from bench.distributed import join_world

    torch.set_num_threads(1)
    measured = []
    with join_world() as world:
        _steps(world, CLASSES[0], RATES[-1], 1)  # what is loaded at first use is not the classifier's
        for classes in CLASSES:
            for rate in RATES:
                gc.collect()
                ctypes.CDLL(None).malloc_trim(0)
                measured.append(
                    {"classes": classes, "sample_rate": rate, **_steps(world, classes, rate, STEPS[classes])}
                )
                print(world.rank, measured[-1], flush=True)  # noqa: T201  (a script)
    (folder / f"{world.rank}.json").write_text(json.dumps(measured))


def _steps(world: Any, classes: int, rate: float, number: int) -> dict[str, float]:
    import torch

    from bench import rows
    from bench.optim import OPTIMIZERS, parameter_groups
    from bench.shards import Shards
    from losses import LOSSES

    before = _status_mib("VmRSS")
    torch.manual_seed(0)
    engine = {"embedding_dim": DIM, "num_classes": classes}
    loss = LOSSES.build(LOSS, engine, {"sample_rate": rate})
    shards = Shards(loss, world, wanted=True)
    # The peak starts anew: the whole table, built to be cut, is gone, and training is measured.
    Path("/proc/self/clear_refs").write_text("5")
    optimizer = OPTIMIZERS.build("adamw", {"groups": parameter_groups([loss], decay_norms=False)}, {})
    cpu_s, wall_s = [], []
    for step in range(number + 1):
        torch.manual_seed(step)
        labels = torch.randint(classes, (BATCH,))
        embeddings = torch.randn(BATCH, DIM)[world.share(BATCH)].requires_grad_()
        cpu, wall = time.process_time(), time.perf_counter()
        output = loss(world.gather(embeddings), labels)
        optimizer.zero_grad(set_to_none=True)
        output.total.backward()
        world.unify(loss, shards.holds)
        shards.total_norm(list(loss.parameters()))
        rows.step(optimizer)
        cpu_s.append(time.process_time() - cpu)
        wall_s.append(time.perf_counter() - wall)
    return {
        "peak_mib": round(_status_mib("VmHWM") - before, 1),
        "cpu_s": round(statistics.median(cpu_s[1:]), 5),  # the first makes the optimiser's state
        "wall_s": round(statistics.median(wall_s[1:]), 5),
    }


def _status_mib(key: str) -> float:
    line = next(it for it in Path("/proc/self/status").read_text().splitlines() if it.startswith(key))
    return int(line.split()[1]) * 1024 / _MIB


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--measure", type=int, nargs="*", metavar="PROCESSES", help="measure anew")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        _child(asked.child)
    else:
        for count in PROCESSES if asked.measure == [] else asked.measure or ():
            _keep(*measure(count))
        PAGE.write_text(current(PAGE.read_text()))
