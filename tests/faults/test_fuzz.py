"""Whatever a stranger's file holds: a clean result or one clear line, in bounded time, and nothing runs.

Thousands of damaged files, read in this process by what the commands read them with. BENCH_FUZZ=20 makes
twenty times as many; a find says the number that makes it again.
"""

from __future__ import annotations

import functools
import io
import json
import logging
import os
import pickle
import random
import re
import resource
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import bench
from bench.cli.verify import answer_lines
from bench.config import load_config
from bench.config.variants import read_comparison
from bench.data.align.landmarks import Landmarks
from bench.data.align.picture import UnreadableError, read_picture
from bench.data.align.source import survey
from bench.data.audit.verdict import AuditFile, audit_verdict
from bench.data.cache import file_fingerprint
from bench.data.packed import packed
from bench.data.packing import pack_images
from bench.data.split import Validation
from bench.engine import run_path
from bench.errors import BenchError, ConfigError
from bench.images import UnreadableImageError, decode_image, list_records, list_tar, read_bin
from bench.judge.asked import Asked
from bench.judge.evaluation import evaluate
from bench.judge.images import Images
from bench.judge.models import model_of_run, model_of_weights
from bench.judge.pair_lists import read_pair_list
from bench.judge.photos import check_same_preprocessing, choose_threshold, photo_pairs
from bench.results import DataAudit, RunFolder, read_metrics, read_thresholds
from bench.study.config import load_study
from bench.study.storage import open_journal_to_read, quiet_optuna, repair_journal
from bench.tracking import contents
from bench.tracking.progress import load_ledger
from reports.records import read_runs

from ..bench.insightface import write_records
from ..bench.pictures import encoded, picture, write_people, write_tar
from ..conftest import Injected
from .mutation import mutated_bytes, mutated_json, mutated_member, mutated_text, mutated_tree

# A bound of processor time holds for each file; the machine may be busy.
pytestmark = pytest.mark.timeout(900)

CPU = torch.device("cpu")
TINY = """\
data: {name: rendered, identities: 12, images_per_identity: 6, size_px: 32,
       test_pairs: 4, validation_pairs: 3}
backbone: {name: small, embedding_dim: 16, width: 4}
loss: {name: center, factor: 0.01}
batch: {name: random, size: 18}
optimizer: {name: adamw, learning_rate: 1e-3}
schedule: {name: cosine}
train: {epochs: 1, log_every: 2}
runtime: {threads: 1}
tracking: {enabled: false}
"""
STUDY = """\
extends: tiny.yaml
search:
  loss.factor: {float: [1e-3, 0.3], log: true}
  optimizer.learning_rate: {float: [5e-4, 1e-2], log: true}
objective: {metric: validation/accuracy}
sampler: {name: tpe}
pruner: {name: none}
study: {trials: 5}
"""
COMPARISON = """\
description: one thing at a time
base: tiny.yaml
seeds: 3
variants:
  wide: ["backbone.width=8"]
  softmax: ["loss={name: softmax}"]
"""
PEOPLE = {"Ada_Lovelace": 3, "Alan_Turing": 3, "Grace_Hopper": 3, "Emmy_Noether": 3, "Kurt_Goedel": 3}
BOUND_S = 30.0  # of processor time for one file, on any machine; most take milliseconds
MEMORY_BYTES = 6 * 2**30
# what no file may bring about, as Python's audit hooks call it
FORBIDDEN = {
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "os.forkpty",
    "subprocess.Popen",
    "pty.spawn",
}
FORBIDDEN |= {"socket.connect", "webbrowser.open", "shutil.rmtree", "os.remove", "os.rename", "ctypes.dlopen"}


@dataclass(frozen=True, eq=False)
class Case:
    """Files of one kind.

    Args:
        files: name -> content of an undamaged one, or of several that belong together.
        mutate: content of one of them -> damaged content.
        read: reads the folder of the damaged files as commands do.
        mutants: how many to try.
        spared: files that stay whole.
    """

    files: dict[str, bytes]
    mutate: Callable[[bytes, random.Random], bytes]
    read: Callable[[Path], object]
    mutants: int
    spared: tuple[str, ...] = ()


Judge = Callable[[str, Case, Path], None]


class _Watch:
    """Notes what a file has brought about that none may."""

    def __init__(self) -> None:
        self.is_on = False
        self.seen: list[str] = []
        sys.addaudithook(self._hear)  # for good: Python has no way to take one back

    def _hear(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.is_on and event in FORBIDDEN:
            self.seen.append(f"{event} {arguments!r}"[:200])


WATCH = _Watch()


@contextmanager
def bounded_memory() -> Iterator[None]:
    """What asks for more than a few GiB is told so, whatever the machine has."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def text_mutator(data: bytes, rng: random.Random) -> bytes:
    return mutated_text(data.decode(), rng).encode("utf-8", "surrogatepass")


def arrays_mutator(data: bytes, rng: random.Random) -> bytes:
    """A .npz with another array in it, a damaged member, or damaged bytes."""
    kind = rng.randrange(4)
    if kind == 0:
        return mutated_bytes(data, rng)
    if kind == 1:
        return mutated_member(data, rng, mutated_bytes)
    arrays = dict(np.load(io.BytesIO(data)))
    name = rng.choice(sorted(arrays))
    arrays[name] = _other_array(arrays[name], rng)
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.savez(stream, **arrays)
    return stream.getvalue()


def _other_array(array: Any, rng: random.Random) -> Any:
    kind = rng.randrange(8)
    if kind == 0:
        return array[: rng.randrange(3)]
    if kind == 1:
        dtypes = ["f2", "i1", "u8", "c8", "U3", "S5", "O", "?", "M8[s]", "V3", [("a", "i4")]]
        return np.zeros(array.shape, rng.choice(dtypes))
    if kind == 2:
        return array.reshape(rng.choice([(-1,), (1, -1), (-1, 1, 1)]))
    if kind == 3 or array.dtype.kind not in "fiub":
        return rng.choice(
            [np.array(3), np.zeros((0, 0)), np.array(["a", "a"]), np.array([b"\xff"]), array[::-1]]
        )
    changed = np.array(array, array.dtype if kind < 6 else float)
    values = [0, 1, -1, np.nan, np.inf, -np.inf, 1e300, 2**62, 255]
    with np.errstate(all="ignore"):
        changed.flat[rng.randrange(max(changed.size, 1)) if changed.size else []] = np.float64(
            rng.choice(values)
        ).astype(changed.dtype)
        return changed * changed.dtype.type(0) if kind == 7 else changed


def state_mutator(data: bytes, rng: random.Random) -> bytes:
    """A checkpoint whose state is another tree, a damaged member of its archive, or damaged bytes."""
    kind = rng.randrange(4)
    if kind == 0:
        return mutated_bytes(data, rng)
    if kind == 1:
        return mutated_member(data, rng, mutated_bytes)
    state = torch.load(io.BytesIO(data), weights_only=True)
    tensors = (
        torch.zeros(()),
        torch.zeros(2, 0),
        torch.full((16,), float("nan")),
        torch.zeros(3, 3).to_sparse(),
    )
    others = (
        torch.zeros(4, dtype=torch.complex64),
        torch.zeros(16, dtype=torch.bool),
        torch.zeros(1, device="meta"),
    )
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(
            mutated_tree(state, rng, (*tensors, *others, None, "", "x", -1, 3.5, [], {}, True)), stream
        )
    return stream.getvalue()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunFolder]:
    """A run of ours: what it leaves is damaged below. The working folder is its own."""
    folder = tmp_path_factory.mktemp("fuzz")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("BENCH_CACHE", str(folder / "cache"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        Path("tiny.yaml").write_text(TINY)
        bench.run("tiny.yaml")
        yield RunFolder(run_path(load_config("tiny.yaml")))


def _judge(injected: Injected, name: str, case: Case, folder: Path) -> None:
    """Read every mutant; each kind of find once, with the number that makes it again."""
    read = refused = 0
    finds: dict[str, str] = {}
    count = max(1, round(case.mutants * float(os.environ.get("BENCH_FUZZ", "1"))))
    injected(f"a stranger's damaged file: {name}", "nothing: a result, or one line", times=count)
    files = sorted(set(case.files) - set(case.spared))
    logging.disable(logging.CRITICAL)  # warnings of what was repaired
    try:
        with bounded_memory(), warnings.catch_warnings():
            for file, content in case.files.items():
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                (folder / file).write_bytes(content)
            case.read(folder)  # whole, they are read
            for number in range(count):
                rng = random.Random(f"{name} {number}")
                chosen = rng.choice(files)
                for file, content in case.files.items():
                    damaged = case.mutate(content, rng) if file == chosen else content
                    (folder / file).write_bytes(damaged)
                began = time.process_time()
                problem = None
                WATCH.is_on = True
                try:
                    case.read(folder)
                    read += 1
                except BenchError as error:
                    refused += 1
                    lines = error.problems if isinstance(error, ConfigError) else (str(error),)
                    wrong = [line for line in lines if len(line.splitlines()) != 1]
                    if wrong or not lines:
                        problem = f"not one line: {wrong!r:.300}"
                except Exception as error:
                    where = traceback.extract_tb(error.__traceback__)
                    ours = [frame for frame in where if f"{os.sep}tests{os.sep}" not in frame.filename]
                    inner = next(
                        (f for f in reversed(ours) if f"{os.sep}bench{os.sep}" in f.filename), ours[-1]
                    )
                    problem = f"{inner.filename}:{inner.lineno}: {type(error).__name__}: {error!s:.200}"
                finally:
                    WATCH.is_on = False
                if (spent := time.process_time() - began) > BOUND_S:
                    problem = f"took {spent:.0f} s"
                if problem is not None:
                    finds.setdefault(
                        re.sub(r"\d{2,}|'.*", "", problem)[:120], f"{name} {number} {chosen}: {problem}"
                    )
    finally:
        logging.disable(logging.NOTSET)
    assert not finds, "\n".join(["", *finds.values()])
    assert not WATCH.seen
    assert not list(folder.rglob("exploded"))
    assert not Path("exploded").exists()
    assert read + refused == count


@pytest.fixture
def judge(injected: Injected) -> Judge:
    return functools.partial(_judge, injected)


def test_configurations(finished: RunFolder, tmp_path: Path, judge: Judge) -> None:
    text = (
        TINY
        + "seed: 3\nevaluate: {fars: [1e-3, 0.1], flip: sum}\ninit: {freeze: none}\naugment: {shift_px: 1}\n"
    )

    def read(folder: Path) -> None:
        load_config(folder / "tiny.yaml").to_yaml()

    judge("configuration", Case({"tiny.yaml": text.encode()}, text_mutator, read, 400), tmp_path)


def test_studies_and_comparisons(finished: RunFolder, tmp_path: Path, judge: Judge) -> None:
    files = {"tiny.yaml": TINY.encode(), "study.yaml": STUDY.encode(), "compare.yaml": COMPARISON.encode()}
    spared = ("tiny.yaml",)
    judge(
        "study",
        Case(
            files,
            text_mutator,
            lambda folder: load_study(folder / "study.yaml"),
            150,
            (*spared, "compare.yaml"),
        ),
        tmp_path,
    )
    judge(
        "comparison",
        Case(
            files,
            text_mutator,
            lambda folder: read_comparison(str(folder / "compare.yaml")),
            100,
            (*spared, "study.yaml"),
        ),
        tmp_path,
    )


def pairs_text(people: dict[str, int] = PEOPLE) -> str:
    names = list(people)
    lines = [f"{len(names)}\t1"]
    for name, other in zip(names, [*names[1:], names[0]], strict=True):
        lines += [f"{name}\t1\t2", f"{name}\t1\t{other}\t3"]
    return "\n".join(lines) + "\n"


def pairs_csv() -> str:
    rows = [line.split("\t") for line in pairs_text().splitlines()[1:]]
    lines = ["left,right,same,fold"]
    for number, row in enumerate(rows):
        one, other = (row[0], row[1]), (row[-2] if len(row) == 4 else row[0], row[-1])
        sides = ",".join(f"{name}/{name}_{int(image):04d}.jpg" for name, image in (one, other))
        lines.append(f"{sides},{int(len(row) == 3)},{number // 2}")
    return "\n".join(lines) + "\n"


def test_lists_of_pairs(tmp_path: Path, judge: Judge) -> None:
    def official(folder: Path) -> None:
        read_pair_list(folder / "pairs.txt", name="x")

    def table(folder: Path) -> None:
        read_pair_list(folder / "pairs.csv", name="x")

    def photos(folder: Path) -> None:
        photo_pairs([folder / "photos.csv"])

    judge("pairs.txt", Case({"pairs.txt": pairs_text().encode()}, text_mutator, official, 500), tmp_path)
    listed = {"photos.csv": b"left,right,same\na.jpg,b.jpg,1\n", "a.jpg": b"", "b.jpg": b""}
    judge("photos .csv", Case(listed, text_mutator, photos, 200, ("a.jpg", "b.jpg")), tmp_path)
    judge("pairs .csv", Case({"pairs.csv": pairs_csv().encode()}, text_mutator, table, 500), tmp_path)


def test_landmarks(tmp_path: Path, judge: Judge) -> None:
    columns = (
        "left_eye_x,left_eye_y,right_eye_x,right_eye_y,nose_x,nose_y,mouth_left_x,mouth_left_y,mouth_right_x"
    )
    text = f"file,{columns},mouth_right_y,confidence\n" + "".join(
        f"A/{number}.jpg,1,2,3,4,5,6,7,8,9,{number},0.9\n" for number in range(4)
    )
    judge(
        "landmarks",
        Case({"l.csv": text.encode()}, text_mutator, lambda f: Landmarks(f / "l.csv"), 200),
        tmp_path,
    )


def test_checkpoints(finished: RunFolder, tmp_path: Path, judge: Judge) -> None:
    (checkpoint,) = finished.checkpoints.glob("step-*.pt")
    pixels = np.zeros((2, 3, 32, 32), np.uint8)

    def read(folder: Path) -> None:
        model_of_run(folder / "a.pt", CPU).embed(pixels, flip="sum", batch_size=2)

    judge("checkpoint", Case({"a.pt": checkpoint.read_bytes()}, state_mutator, read, 300), tmp_path)


def test_weights(finished: RunFolder, tmp_path: Path, judge: Judge) -> None:
    (checkpoint,) = finished.checkpoints.glob("step-*.pt")
    stream = io.BytesIO()
    torch.save(torch.load(checkpoint, weights_only=True)["learner"]["backbone"], stream)
    pixels, options = np.zeros((2, 3, 32, 32), np.uint8), ("embedding_dim=16", "width=4")

    def read(folder: Path) -> None:
        from bench.data import Preprocess

        model = model_of_weights(
            folder / "w.pt", "small", options, preprocess=Preprocess("fixed", None), size_px=32, device=CPU
        )
        model.embed(pixels, flip="none", batch_size=2)

    judge("weights", Case({"w.pt": stream.getvalue()}, state_mutator, read, 150), tmp_path)


def test_images(tmp_path: Path, judge: Judge) -> None:
    def read(folder: Path) -> None:
        (path,) = folder.glob("*.img")
        for decode in (lambda content: decode_image(content, 16), read_picture):
            try:
                decode(path.read_bytes())
            except (UnreadableImageError, UnreadableError) as error:
                raise BenchError(str(error)) from None

    for kind in ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM", "GIF"):
        content = encoded(picture(kind, size=(20, 18)), kind)
        judge(f"image, {kind}", Case({"a.img": content}, mutated_bytes, read, 200), tmp_path)


def embeddings_file() -> bytes:
    rng = np.random.default_rng(0)
    names = [
        f"{name}/{name}_{number:04d}" for name, count in PEOPLE.items() for number in range(1, count + 1)
    ]
    stream = io.BytesIO()
    np.savez(stream, names=np.array(names), embeddings=rng.standard_normal((len(names), 4)))
    return stream.getvalue()


def test_embeddings(tmp_path: Path, judge: Judge) -> None:
    files = {"e.npz": embeddings_file(), "pairs.txt": pairs_text().encode()}

    def read(folder: Path) -> None:
        asked = Asked(embeddings=folder / "e.npz", pairs=(str(folder / "pairs.txt"),), intervals="wilson")
        evaluate(asked, CPU, lambda _: None)

    judge("embeddings .npz", Case(files, arrays_mutator, read, 500, ("pairs.txt",)), tmp_path)


def test_distances(tmp_path: Path, judge: Judge) -> None:
    stream = io.BytesIO()
    rng = np.random.default_rng(0)
    np.savez(stream, distances=rng.random(12), same=np.arange(12) % 2 == 0, fold=np.arange(12) // 4)

    def read(folder: Path) -> None:
        evaluate(Asked(distances=folder / "d.npz", intervals="wilson"), CPU, lambda _: None)

    judge("distances .npz", Case({"d.npz": stream.getvalue()}, arrays_mutator, read, 500), tmp_path)


def test_insightfaces_files(tmp_path: Path, judge: Judge) -> None:
    faces = [encoded(picture(f"face {number}", size=(12, 12))) for number in range(4)]
    plain = pickle.dumps((faces, [True, False]), protocol=2)
    arrays = pickle.dumps(
        ([np.frombuffer(face, np.uint8) for face in faces], np.array([True, False])), protocol=4
    )
    write_records(tmp_path / "rec", [(number // 2, face) for number, face in enumerate(faces)])
    records = {
        name: (tmp_path / "rec" / name).read_bytes() for name in ("train.rec", "train.idx", "property")
    }

    def read(folder: Path) -> None:
        files = read_bin(folder / "x.bin", "data.root").files
        decode_every(files)

    def read_records(folder: Path) -> None:
        decode_every(list_records(folder, "data.root"))

    judge(".bin, bytes", Case({"x.bin": plain}, mutated_bytes, read, 300), tmp_path / "bin")
    judge(".bin, arrays", Case({"x.bin": arrays}, mutated_bytes, read, 300), tmp_path / "bin")
    judge("train.rec", Case(records, mutated_bytes, read_records, 400), tmp_path / "damaged")


def decode_every(files: Any) -> None:
    """As packing does; an image that cannot be read is no error there."""
    for index in range(len(files.names)):
        try:
            decode_image(files.blobs.read(index), 16)
        except (OSError, UnreadableImageError):
            continue


def test_archives(tmp_path: Path, judge: Judge) -> None:
    members = {f"set/{name}/{name}_0001.jpg": encoded(picture(name, size=(9, 9))) for name in PEOPLE}
    whole = write_tar(tmp_path / "whole.tar", members).read_bytes()

    def read(folder: Path) -> None:
        names = [f"{name}/{name}_0001" for name in PEOPLE]
        survey(folder / "a.tar")
        images = Images(folder / "a.tar", names)
        for name in names:
            images.pixels(name, 16)
        decode_every(list_tar(folder / "a.tar", "data.root"))

    judge("tar", Case({"a.tar": whole}, mutated_bytes, read, 300), tmp_path / "damaged")


def test_thresholds(finished: RunFolder, tmp_path: Path, judge: Judge) -> None:
    model = model_of_run(finished.path, CPU)

    def read(folder: Path) -> None:
        path = folder / "thresholds.json"
        document = read_thresholds(path)
        check_same_preprocessing(model, document, path)
        found = choose_threshold(document, path, far=1e-2, data=None)
        answer_lines(document, found, 1e-2, ())

    files = {"thresholds.json": finished.thresholds.read_bytes()}
    judge("thresholds.json", Case(files, mutated_json, read, 400), tmp_path)


@pytest.mark.parametrize("form", ["pixels", "parquet"])
def test_packs(form: str, tmp_path: Path, judge: Judge) -> None:
    write_people(tmp_path / "people", {f"Person_{number:02d}": 2 for number in range(42)})
    pack_images(tmp_path / "people", tmp_path / "pack", form, 16, workers=1)  # type: ignore[arg-type]
    files = {path.name: path.read_bytes() for path in (tmp_path / "pack").iterdir()}

    def mutate(content: bytes, rng: random.Random) -> bytes:
        if content[:1] in (b"{", b"["):
            return mutated_json(content, rng)
        return (
            mutated_bytes(content[:200], rng) + content[200:]
            if rng.random() < 0.5
            else mutated_bytes(content, rng)
        )

    def read(folder: Path) -> None:
        fit_checksums(folder)
        data = packed(folder / "cache", root=str(folder), size_px=16, validation=Validation(0.5, 1))
        for faces in (data.train, data.validation.faces):
            faces.images[np.arange(len(faces))]

    judge(f"pack, {form}", Case(files, mutate, read, 250), tmp_path / "damaged")


def fit_checksums(folder: Path) -> None:
    """As a stranger would: the checksums fit what the files hold, so that reading goes beyond them."""
    path = folder / "meta.json"
    try:
        manifest = json.loads(path.read_bytes())
        for name in manifest["files"]:
            manifest["files"][name] = file_fingerprint(folder / name)
        path.write_text(json.dumps(manifest))
    except (ValueError, TypeError, KeyError, OSError, RecursionError, AttributeError):
        pass


def test_audits(tmp_path: Path, judge: Judge) -> None:
    verdict = DataAudit(
        train="a", test="b", train_images=3, train_identities=2, test_images=3, test_identities=2,
        shared_identities=1, near_duplicates=0, is_clean=False, verdict="shares",
    )  # fmt: skip
    whole = AuditFile(verdict=verdict, shared_identities=(("x", "y"),)).model_dump_json().encode()

    def read(folder: Path) -> None:
        audit_verdict(folder / "train", num_images=3)

    judge("audit", Case({"train.audit.json": whole}, mutated_json, read, 200), tmp_path)


def test_run_folders(finished: RunFolder, tmp_path: Path, judge: Judge) -> None:
    names = ("state.json", "record.json", "metrics.jsonl", "pairs.npz", "config.yaml", "environment.json")
    files = {f"runs/a/{name}": (finished.path / name).read_bytes() for name in names}
    files |= {"runs/a/tags.json": b'{"parent": null, "tags": {"a": "b"}}'}
    files |= {"runs/a/tracking.json": b'{"run_key": "k", "stores": {"s": {"run_id": "r", "offset": 3}}}'}

    def mutate(content: bytes, rng: random.Random) -> bytes:
        if content[:2] == b"PK":
            return arrays_mutator(content, rng)
        try:
            json.loads(content)
        except ValueError:
            return mutated_bytes(content, rng)
        return mutated_json(content, rng)

    def read(folder: Path) -> None:
        run = RunFolder(folder / "runs" / "a")
        collection = read_runs([folder / "runs"])
        for one in collection.runs:
            one.curve  # noqa: B018
        contents.params(run.config)
        state = run.state()
        if state is not None:
            contents.tags(run, state, run.record())
            load_ledger(run, state)
        for line in read_metrics(run.metrics):
            for name, value in line.metrics.items():
                contents.metric_name(name)
                float(value)

    judge("run folder", Case(files, mutate, read, 400), tmp_path)


def test_journals(tmp_path: Path, judge: Judge) -> None:
    import optuna

    quiet_optuna()
    file = tmp_path / "whole.log"
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(file)))
    study = optuna.create_study(storage=storage, study_name="s")
    for number in range(3):
        trial = study.ask({"x": optuna.distributions.FloatDistribution(0, 1)})
        study.tell(trial, float(number))

    def read(folder: Path) -> None:
        repair_journal(folder / "journal.log", lambda _: None)
        open_journal_to_read(folder / "journal.log")

    judge("journal", Case({"journal.log": file.read_bytes()}, mutated_bytes, read, 200), tmp_path / "damaged")
