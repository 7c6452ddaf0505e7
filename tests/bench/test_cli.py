import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from bench.cli.arguments import split_arguments
from bench.cli.counting import counted
from bench.errors import UserError

from .conftest import Bench

HEAVY = ("torch", "mlflow", "optuna", "timm", "pandas", "matplotlib", "numpy", "sklearn", "pydantic")


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys\nfrom bench.cli import main\nsys.argv = ['bench', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert "bench run center" in done.stdout


def test_python_dash_m_bench_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench", "list", "--help"], capture_output=True, text=True, check=True
    )
    assert "List what can be named in a configuration." in done.stdout


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("losses", ["center", "softmax", "triplet"]),
        ("miners", ["all", "hard", "semi_hard"]),
        ("backbones", ["inception_resnet_v1", "small"]),
        ("data", ["rendered"]),
        ("batches", ["pk", "random"]),
        ("optimizers", ["adam", "adamw", "sgd"]),
        ("schedules", ["constant", "cosine"]),
        ("configs", ["center", "smoke", "softmax", "triplet"]),
    ],
)
def test_list_names_every_component_with_a_line_about_it(
    bench_command: Bench, kind: str, names: list[str]
) -> None:
    ended = bench_command("list", kind)
    assert ended.code == 0
    lines = dict(line.split(maxsplit=1) for line in ended.out.splitlines())
    assert set(names) <= set(lines)
    assert all(len(text) > 10 for text in lines.values())


def test_list_long_shows_options_and_defaults(bench_command: Bench) -> None:
    ended = bench_command("list", "batches", "--long")
    assert re.search(r"^  people +=  *32$", ended.out, re.MULTILINE)


def test_check_says_valid_and_explains_every_value(bench_command: Bench) -> None:
    ended = bench_command("check", "tiny.yaml", "loss.factor=0.5", "--explain")
    assert ended.code == 0
    first, *rows = ended.out.splitlines()
    assert first.startswith("tiny.yaml: valid, hash ")
    origins = {row.split()[0]: " ".join(row.split()[2:]) for row in rows}
    assert origins["loss.factor"] == "command line"
    assert origins["loss.alfa"] == "default"
    assert origins["batch.size"] == "tiny.yaml:6"


def test_check_knows_comparisons(bench_command: Bench) -> None:
    Path("two.yaml").write_text("base: tiny\nvariants:\n  wide: [backbone.width=8]\n")
    ended = bench_command("check", "two.yaml", "tiny.yaml", "seed=1")
    assert (ended.code, ended.err) == (0, "")
    first, second = ended.out.splitlines()
    assert first == "two.yaml: valid comparison, 1 variant of tiny.yaml, 3 seeds"
    assert second.startswith("tiny.yaml: valid, hash ")
    ended = bench_command("check", "two.yaml", "--explain")
    lines = [" ".join(line.split()) for line in ended.out.splitlines()]
    assert "batch.size 18 tiny.yaml:6" in lines[: lines.index("wide:")]
    assert lines[lines.index("wide:") + 1 :] == ["name wide command line", "backbone.width 8 command line"]


def test_check_names_the_line_of_a_variant_that_is_wrong(bench_command: Bench) -> None:
    Path("two.yaml").write_text("base: tiny\nvariants:\n  wide: [backbone.wdth=8]\n  same: [seed=0]\n")
    ended = bench_command("check", "two.yaml")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == (
        "two.yaml:3: variants.wide: backbone.wdth: unknown key; did you mean 'width'?\n"
        "two.yaml:4: variants.same: asks for the same settings as the base; change something\n"
    )


def test_every_shipped_comparison_is_valid(bench_command: Bench) -> None:
    ended = bench_command("check", "compare/why_triplet")
    assert ended.out == "compare/why_triplet: valid comparison, 8 variants of triplet_facenet, 3 seeds\n", (
        ended.err
    )


def test_list_takes_a_pattern(bench_command: Bench) -> None:
    ended = bench_command("list", "losses", "*face")
    assert [line.split()[0] for line in ended.out.splitlines()] == [
        "adaface",
        "arcface",
        "cosface",
        "sphereface",
    ]


def test_list_says_what_is_not_there(bench_command: Bench) -> None:
    ended = bench_command("list", "losses", "*fake")
    assert (ended.code, ended.err) == (2, "no losses like '*fake'; 'bench list losses' shows all\n")


def test_check_lists_all_problems_at_once(bench_command: Bench) -> None:
    Path("wrong.yaml").write_text("extends: tiny.yaml\nlos: 1\nseed: -1\n")
    ended = bench_command("check", "wrong.yaml")
    assert ended.code == 2
    assert ended.err == (
        "wrong.yaml:2: los: unknown key; did you mean 'loss'?\nwrong.yaml:3: seed: must be >= 0, got -1\n"
    )
    assert ended.out == ""


def test_schema_is_json_that_knows_the_losses(bench_command: Bench) -> None:
    ended = bench_command("schema")
    assert "semi_hard" in json.dumps(json.loads(ended.out))


def test_preview_writes_a_contact_sheet(bench_command: Bench) -> None:
    ended = bench_command("data", "preview", "tiny.yaml", "--people", "3", "--images", "4")
    assert ended.code == 0, ended.err
    assert "runs/preview-rendered.png: 3 people, up to 4 pictures of each" in ended.out
    with Image.open("runs/preview-rendered.png") as sheet:
        assert sheet.width > 4 * 32
        assert sheet.height > 3 * 32


def test_preview_of_two_configurations_is_refused(bench_command: Bench) -> None:
    ended = bench_command("data", "preview", "tiny.yaml", "center")
    assert (ended.code, ended.err) == (2, "one configuration at a time, got tiny.yaml, center\n")


def test_an_unknown_configuration_names_the_nearest(bench_command: Bench) -> None:
    ended = bench_command("run", "centre")
    assert (ended.code, ended.err) == (
        2,
        "centre: no such file, and no shipped configuration of that name; did you mean 'center'?\n",
    )


def test_arguments_may_come_in_any_order() -> None:
    assert split_arguments(["a=1", "center", "b.c={x: 1}", "./my=odd.yaml"]) == (
        ["center", "./my=odd.yaml"],
        ["a=1", "b.c={x: 1}"],
    )
    many = "loss={name: sum, terms: [" + "{loss: {name: softmax}}, " * 20 + "]}"  # longer than a file's name
    assert split_arguments(["center", many]) == (["center"], [many])
    with pytest.raises(UserError):
        split_arguments(["a=1"])


def test_track_sync_of_a_missing_folder_is_one_line(bench_command: Bench) -> None:
    ended = bench_command("track", "sync", "nowhere")
    assert (ended.code, ended.err) == (
        2,
        "nowhere: no such folder; name the folder that holds the run folders\n",
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("list", "lossess"), "'lossess': nothing of that kind to list; did you mean 'losses'?"),
        (
            ("list", "x"),
            "'x': nothing of that kind to list; there are losses, backbones, miners, data, batches, "
            "optimizers, schedules, configs",
        ),
        (
            ("run", "tiny.yaml", "=3"),
            "'=3': neither a file nor a setting; write path=value, such as loss.margin=0.3",
        ),
        (
            ("run", "tiny.yaml", "foo"),
            "foo: no such file, and no shipped configuration of that name; 'bench list configs' shows the "
            "shipped ones, and a setting is written path=value, such as loss.margin=0.3",
        ),
    ],
)
def test_slips_of_a_newcomer_are_answered(
    bench_command: Bench, arguments: tuple[str, ...], message: str
) -> None:
    ended = bench_command(*arguments)
    assert (ended.code, ended.err) == (2, f"{message}\n")


def test_a_file_whose_name_has_an_equals_sign_is_a_file(workspace: Path) -> None:
    Path("=odd.yaml").write_text("extends: tiny.yaml\n")
    assert split_arguments(["=odd.yaml", "a.b=1"]) == (["=odd.yaml"], ["a.b=1"])


def test_one_of_something_has_no_plural() -> None:
    assert [counted(number, "run") for number in (0, 1, 2, 1200)] == [
        "0 runs",
        "1 run",
        "2 runs",
        "1,200 runs",
    ]
