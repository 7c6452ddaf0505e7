"""The `bench` command. Each command imports what it needs when it is called: `bench --help` is instant."""

from __future__ import annotations

import io
import sys

import click

from bench.cli.align import align
from bench.cli.check import check, schema
from bench.cli.compare import compare
from bench.cli.completion import completion
from bench.cli.data import data
from bench.cli.doctor import doctor
from bench.cli.eval import evaluate
from bench.cli.export import export
from bench.cli.launch import launched_rank
from bench.cli.listing import list_
from bench.cli.report import report
from bench.cli.run import run
from bench.cli.speed import speed
from bench.cli.study import study
from bench.cli.track import track
from bench.cli.verify import verify
from bench.cli.worker import worker
from bench.errors import BenchError, Killed, one_line
from bench.idle_threads import let_idle_threads_sleep
from bench.memory import is_out_of_memory
from bench.undisturbed import import_torch_undisturbed


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="faceloss-bench", prog_name="bench")
def bench() -> None:
    """Train face-verification embeddings with different losses and compare them fairly.

    \b
    bench run center                     one run: train, evaluate, track
    bench run softmax center --seeds 3   several, with mean and spread
    bench compare softmax center --seeds 5   run what is missing, then report
    bench study studies/triplet          search settings by validation figures
    bench list losses                    what there is
    bench check center --explain         every setting and where it comes from
    """


for _command in (
    run, compare, report, study, worker, evaluate, verify, export,
    check, schema, list_, data, align, track, speed, doctor, completion,
):  # fmt: skip
    bench.add_command(_command)


def main() -> None:
    """Entry point: an error that a person can act on is one line and an exit code, never a traceback."""
    let_idle_threads_sleep()
    import_torch_undisturbed()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without ± still gets its figures
    try:
        bench(prog_name="bench")
    except BenchError as error:
        if launched_rank() == 0 or error.exit_code == 1:  # a user's mistake is the same on every rank
            click.echo(str(error), err=True)
        sys.exit(error.exit_code)
    except (RuntimeError, MemoryError) as error:  # torch is not imported for an exception's class
        if not is_out_of_memory(error):
            raise
        click.echo(f"out of memory: {one_line(error) or 'the system has no more'}", err=True)
        sys.exit(1)
    except Killed as error:
        if launched_rank() == 0:
            click.echo(f"stopped by {error}; {error.remedy}", err=True)
        sys.exit(143 if error.signal_name == "SIGTERM" else 130)
