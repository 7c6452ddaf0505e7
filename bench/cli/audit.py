"""`bench data audit`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.errors import UserError

if TYPE_CHECKING:
    from bench.data.audit import Audit
    from bench.data.audit.run import Model

_SHOWN = 10


@click.command(short_help="Say whether TRAIN and TEST share people or pictures.")
@click.argument("train", metavar="TRAIN", type=click.Path(path_type=Path))
@click.argument("test", metavar="TEST", type=click.Path(path_type=Path))
@click.option(
    "--pairs", type=click.Path(path_type=Path), help="pairs.txt: only what it names counts as the test."
)
@click.option(
    "--run", "trained", type=click.Path(path_type=Path), help="Run folder: compare by its embeddings too."
)
@click.option(
    "--distance",
    type=float,
    default=0.1,
    show_default=True,
    help="Of embeddings, squared: one picture below.",
)
@click.option(
    "--bits",
    type=click.IntRange(0, 31),
    default=31,
    show_default=True,
    help="Of 256 in the hash: one picture.",
)
@click.option(
    "--json", "out", type=click.Path(path_type=Path), help="Where to write it [default: TRAIN.audit.json]."
)
@click.option("--png", type=click.Path(path_type=Path), help="Write the histogram as a figure.")
def audit(
    train: Path,
    test: Path,
    pairs: Path | None,
    trained: Path | None,
    distance: float,
    bits: int,
    out: Path | None,
    png: Path | None,
) -> None:
    """Say whether TRAIN and TEST share people or pictures; folders or tar archives of identity/picture.

    People are compared by name, whatever its spelling; pictures by a perceptual hash, with --run also by
    embedding. The verdict is written beside TRAIN, where runs on it find it for their records.
    """
    from bench.cli.counting import open_counting
    from bench.data.audit import audit as compare
    from bench.data.audit import audit_path, write_audit
    from bench.data.audit.histogram import save_histogram

    target = out or audit_path(train)
    if not target.parent.is_dir():
        raise UserError(f"{target}: there is no folder {target.parent}; name another file with --json")
    only = None if pairs is None else _named(pairs)
    model = None if trained is None else _model(trained, distance)
    with open_counting("audit", "pictures") as progress:
        found = compare(train, test, only=only, model=model, max_bits=bits, progress=progress)
    if png is not None:
        save_histogram(png, {train.name: found.train, test.name: found.test})
    write_audit(target, found.file)
    for line in _lines(train, test, found):
        click.echo(line)
    click.echo(f"written: {target}" + (f", {png}" if png is not None else ""))


def _named(pairs: Path) -> set[str]:
    from bench.data.pairs import image_name, read_pairs

    return {image_name(*side) for pair in read_pairs(pairs) for side in (pair.left, pair.right)}


def _model(trained: Path, distance: float) -> Model:
    from bench.data.audit.run import Model
    from bench.device import choose_device
    from bench.embed import embed
    from bench.trained import load_trained

    device = choose_device("auto")
    loaded = load_trained(trained, device)
    if loaded.size_px is None:
        raise UserError(f"{trained}: its configuration does not say the size of its images (data.size_px)")
    return Model(
        trained.name,
        lambda images: embed(
            loaded.backbone,
            images,
            device=device,
            batch_size=len(images),
            preprocess=loaded.preprocess,
            precision=loaded.config.train.precision,
        ),
        loaded.size_px,
        distance,
    )


def _lines(train: Path, test: Path, found: Audit) -> list[str]:
    from bench.data.audit.histogram import text_histogram

    file = found.file
    lines = []
    for role, path, images_of in (("train", train, found.train), ("test", test, found.test)):
        lines.append(f"{role} {path}: {len(images_of):,} people, {sum(images_of.values()):,} pictures")
        lines.append("  pictures   people")
        lines.extend(text_histogram(images_of))
    verdict = file.verdict
    if verdict.shared_identities is None:
        lines.append("names: say nothing, those of the training set are numbers")
    else:
        lines.append(f"names: {verdict.shared_identities:,} people of the test are in the training set")
    lines += [f"  {ours} = {theirs}" for ours, theirs in file.shared_identities[:_SHOWN]]
    lines.append(
        f"hashes: {verdict.near_duplicates:,} test pictures have a near duplicate in the training set"
    )
    lines += [f"  {ours} ~ {theirs}, {bits} bits" for ours, theirs, bits in file.near_duplicates[:_SHOWN]]
    if verdict.embedding_duplicates is not None:
        lines.append(f"embeddings: {verdict.embedding_duplicates:,} test pictures have one by embedding")
        lines += [
            f"  {ours} ~ {theirs}, distance {distance:.4f}"
            for ours, theirs, distance in file.embedding_duplicates[:_SHOWN]
        ]
    if file.unreadable:
        lines.append(f"unreadable: {len(file.unreadable):,} pictures")
        lines += [f"  {name}: {reason}" for name, reason in file.unreadable[:_SHOWN]]
    lines.append(f"verdict: {verdict.verdict}")
    if verdict.shared_identities:
        lines.append(
            f"warning: leave these people out of the training set, or figures on {test.name} are too good"
        )
    return lines
