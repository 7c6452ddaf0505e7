"""`bench eval`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from bench.cli.arguments import write_json_to
from bench.cli.runs import find_run

_METRICS = ("sqeuclidean", "euclidean", "cosine", "angle")
_PATH = click.Path(path_type=Path)


@click.command("eval")
@click.option(
    "--run", type=_PATH, callback=find_run, help="Run of ours: folder, name in ./runs, or MLflow id."
)
@click.option("--checkpoint", type=_PATH, help="One checkpoint of ours.")
@click.option("--weights", type=_PATH, help="Weights of --backbone (.pt, .safetensors).")
@click.option("--onnx", type=_PATH, help="ONNX model; needs 'faceloss-bench[onnx]'.")
@click.option("--embeddings", type=_PATH, help=".npz with names (N,) and embeddings (N, D).")
@click.option("--distances", type=_PATH, help=".npz with distances (P,), same (P,) and fold (P,).")
@click.option("--backbone", help="Of --weights; 'bench list backbones' shows them.")
@click.option("--backbone-option", multiple=True, metavar="KEY=VALUE", help="Of --backbone; repeatable.")
@click.option("--size", type=click.IntRange(16, 1024), help="Images of --weights or --onnx, px.")
@click.option("--crop", type=click.IntRange(16, 1024), help="Middle that is cut out of them, px.")
@click.option(
    "--standardize",
    type=click.Choice(("fixed", "per_image", "none")),
    help="Pixels of --weights or --onnx: (x - 127.5) / 128 [default], facenet's prewhiten, or as they are.",
)
@click.option(
    "--pairs",
    multiple=True,
    metavar="[NAME=]FILE",
    help="Pairs in LFW's form, CSV (left,right,same[,fold]), or insightface's .bin; repeatable.",
)
@click.option("--images", type=_PATH, help="Folder or tar with the images that --pairs names.")
@click.option("--data", metavar="CONFIG", help="Test pairs of this configuration's data set.")
@click.option("--metric", type=click.Choice(_METRICS), help="Distance [default: the run's, or sqeuclidean].")
@click.option(
    "--flip",
    type=click.Choice(("none", "sum", "concat")),
    help="Join the mirrored image in [default: the run's, or none].",
)
@click.option(
    "--subtract-mean/--keep-mean",
    default=None,
    help="Subtract the training folds' mean [default: the run's].",
)
@click.option("--no-normalize", is_flag=True, help="Take embeddings as they are, of whatever norm.")
@click.option("--far", "fars", multiple=True, type=float, help="VAL at this FAR; repeatable [default: 1e-3].")
@click.option("--folds", type=click.IntRange(min=2), help="Cut pairs into N folds anew.")
@click.option(
    "--intervals",
    type=click.Choice(("auto", "wilson", "pair", "identity")),
    default="auto",
    show_default=True,
    help="Wilson's, or bootstrap by pair or by identity; auto: by pair up to 200,000 pairs.",
)
@click.option(
    "--replicates", type=click.IntRange(100), default=1000, show_default=True, help="Of a bootstrap."
)
@click.option("--batch-size", type=click.IntRange(1), help="Images embedded at once.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps.")
@click.option("--threads", type=click.IntRange(1), help="Threads of the CPU [default: all].")
@click.option("--json", "json_out", metavar="FILE", help="Write the figures as JSON; - is standard output.")
@click.option("--curves", is_flag=True, help="ROC and DET in the JSON, too.")
@click.option(
    "--out", type=_PATH, help="Folder of what is written [default: runs/evaluations/NAME-PROTOCOLS]."
)
@click.option(
    "--track", is_flag=True, help="Make an MLflow run of it, in the experiment faceloss-bench-evaluations."
)
def evaluate(
    device: str,
    threads: int | None,
    json_out: str | None,
    curves: bool,
    out: Path | None,
    track: bool,
    **options: Any,
) -> None:
    """Judge any model by the verification protocol.

    \b
    bench eval --run runs/center-0a1b2c3d-s0 --pairs lfw=pairs.txt --images lfw.tar
    bench eval --embeddings emb.npz --pairs pairs.txt --metric cosine --far 1e-2 --far 1e-3
    bench eval --distances d.npz --json figures.json
    bench eval --onnx model.onnx --pairs pairs.txt --images lfw/ --flip sum
    bench eval --weights vggface2.pt --backbone inception_resnet_v1 --size 160 --data center

    Without --pairs and --data a run is judged on its own test pairs.
    """
    began = time.perf_counter()
    from bench.cli.board import open_board
    from bench.cli.eval_table import print_evaluation
    from bench.device import choose_device, choose_threads
    from bench.judge.asked import Asked
    from bench.judge.evaluation import evaluate as evaluate_asked
    from bench.judge.folder import as_json, refuse_run, write_evaluation

    asked = Asked(**options)
    asked.check()
    if out is not None:
        refuse_run(out)
    with open_board() as board:
        place = choose_device(device)
        choose_threads(threads or "auto")
        evaluated = evaluate_asked(asked, place, board.row(f"eval {asked.path.name}").stage)
        folder = write_evaluation(
            out or Path("runs") / "evaluations" / evaluated.folder_name,
            evaluated.name,
            evaluated.judged,
            evaluated.preprocessing,
            curves=curves,
        )
        if track:
            from bench.judge.track import EXPERIMENT, track_evaluation
            from bench.tracking import TrackingSettings

            track_evaluation(
                folder,
                evaluated.judged,
                asked.as_parameters(evaluated.settings, evaluated.flip),
                num_parameters=evaluated.num_parameters,
                wall_s=time.perf_counter() - began,
                device=place,
                settings=TrackingSettings(experiment=EXPERIMENT),
                report=board.note,
            )
    to_stderr = json_out == "-"
    print_evaluation(evaluated.name, evaluated.judged, to_stderr=to_stderr)
    click.echo(f"figures, thresholds, pairs and pictures: {folder.path}/", err=to_stderr)
    if json_out is not None:
        write_json_to(json_out, as_json(evaluated.name, evaluated.judged, curves=curves))
