"""The whole report: what it says, that it is always the same, and that nothing in it can break out."""

from __future__ import annotations

import csv
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from bench.errors import UserError
from bench.results import DataAudit, RunFolder
from reports.markdown import escape
from reports.published import read_published
from reports.records import read_runs
from reports.report import Wishes, make_report
from reports.writing import write_report

from .conftest import Make, config_of, maker

QUICK = Wishes(replicates=100)
HOSTILE = "<script>alert(1)</script> | `x` *b* [l](http://evil) &amp; @somebody $x$"


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of three losses; read only."""
    make = maker(tmp_path_factory.mktemp("three"))
    for seed in range(2):
        make("softmax", seed, gap=1.4)
        make("center", seed, gap=1.4)
        runs = make("triplet", seed, gap=0.5, metrics={"train/active_share": 0.4, "train/d_ap_p50": 0.5})
    return runs


@pytest.fixture(scope="module")
def out(three: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the three; read only."""
    folder = tmp_path_factory.mktemp("report")
    written(three, folder)
    return folder


def written(runs: Path, out: Path, wishes: Wishes = QUICK) -> str:
    write_report(make_report(read_runs([runs]), wishes), out, with_records=True)
    return (out / "report.md").read_text()


def test_the_same_runs_give_the_same_bytes_wherever_they_lie(three: Path, out: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(three, tmp_path / "moved")
    written(moved, tmp_path / "second")
    first = {path.relative_to(out): path for path in out.rglob("*.*")}
    assert len(first) > 20
    for name, path in first.items():
        assert (tmp_path / "second" / name).read_bytes() == path.read_bytes(), name


def test_what_a_record_knows_of_its_data_is_said(make: Make, tmp_path: Path) -> None:
    runs = make("softmax")
    (path,) = runs.iterdir()
    folder = RunFolder(path)
    record = folder.record()
    assert record is not None
    audit = DataAudit(
        train="casia",
        test="lfw",
        train_images=9,
        train_identities=3,
        test_images=4,
        test_identities=2,
        shared_identities=1,
        near_duplicates=0,
        is_clean=False,
        verdict="1 shared identity",
    )
    figures = record.protocols["rendered"].model_copy(update={"num_skipped": 1200})
    changes = {"data_notes": ("2 of 9 images cannot be read and are left out",), "data_audit": audit}
    folder.write_record(record.model_copy(update={**changes, "protocols": {"rendered": figures}}))
    text = written(runs, tmp_path / "out")
    assert "1,200 official pairs are left out, an image of each is missing: these are not the figures" in text
    assert "rendered: 2 of 9 images cannot be read and are left out." in text
    assert "casia beside lfw: 1 shared identity." in text


def test_every_picture_that_is_named_is_there_as_svg_and_png(out: Path) -> None:
    text = (out / "report.md").read_text()
    named = re.findall(r"\]\((figures/[\w.-]+)\.svg\)", text)
    assert {Path(name).name for name in named} == {
        "rendered_roc",
        "rendered_det",
        "rendered_accuracy_threshold",
        "rendered_distances",
        "rendered_differences",
        "training",
        "monitors",
    }
    for name in named:
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        svg = (out / f"{name}.svg").read_text()
        assert "<dc:date>" not in svg


def test_markdown_tables_have_as_many_cells_as_columns(out: Path) -> None:
    html = MarkdownIt("commonmark").enable("table").render((out / "report.md").read_text())
    tables = re.findall(r"<table>.*?</table>", html, re.DOTALL)
    assert len(tables) == 6
    for table in tables:
        assert {row.count("<td") for row in re.findall(r"<tr>.*?</tr>", table, re.DOTALL)[1:]} == {
            table.count("<th>") + table.count("<th ")
        }


def test_figures_in_the_table_are_those_of_the_records(three: Path, out: Path) -> None:
    records = [run.record for run in read_runs([three]).runs if run.record.name == "softmax"]
    rows = list(csv.DictReader((out / "table.csv").read_text().splitlines()))
    (row,) = [row for row in rows if (row["configuration"], row["metric"]) == ("softmax", "accuracy")]
    values = [record.protocols["rendered"].metrics["accuracy"] for record in records]
    assert float(row["mean"]) == pytest.approx(sum(values) / 2)
    assert row["seeds"] == "2"
    assert row["config_hash"] == records[0].config_hash
    # two values: the t of 1 degree of freedom is 12.706
    assert float(row["mean"]) - float(row["low"]) == pytest.approx(
        12.7062 * abs(values[0] - values[1]) / 2, rel=1e-4
    )


def test_the_verdict_names_winner_loser_and_ties(make: Make, tmp_path: Path) -> None:
    for seed in range(4):
        make("softmax", seed, gap=1.4)
        make("center", seed, gap=1.4)
        runs = make("triplet", seed, gap=0.5)
    made = make_report(read_runs([runs]), QUICK)
    by_accuracy = made.verdicts[0]
    assert by_accuracy.startswith("rendered, by accuracy: softmax is better than triplet by ")
    assert "center is better than triplet by" in by_accuracy
    assert by_accuracy.endswith("; the data cannot tell apart softmax and center.")


def test_two_seeds_call_nobody_better(out: Path) -> None:
    text = (out / "report.md").read_text()
    assert "Two shared seeds: two differences may be alike by chance, so nothing is called better" in text
    assert "is better" not in text.partition("What was compared")[0]


def test_tests_on_pairs_say_what_mean_subtraction_does_to_them(make: Make, tmp_path: Path) -> None:
    runs = make("softmax")
    (path,) = runs.iterdir()
    folder = RunFolder(path)
    record = folder.record()
    assert record is not None
    said = "Mean subtraction: a run keeps each pair's distance as its own fold's test sees it."
    assert said not in written(runs, tmp_path / "plain")
    figures = record.protocols["rendered"].model_copy(update={"metric": "angle", "subtract_mean": True})
    folder.write_record(record.model_copy(update={"protocols": {"rendered": figures}}))
    assert said in written(runs, tmp_path / "mean")


def test_one_seed_is_marked_and_ranked_nowhere(make: Make, tmp_path: Path) -> None:
    make("softmax", gap=1.4)
    text = written(make("triplet", gap=0.5), tmp_path / "out")
    assert (
        "One shared seed: what another training would give is unknown, so nothing is called better; it "
        "takes 3 ('bench compare --seeds 3')."
    ) in text
    assert "† one seed: an interval, where there is one, is Wilson's" in text
    row = next(line for line in text.splitlines() if line.startswith("| softmax | 1 | 1 to 2 |"))
    assert "one seed" in row
    assert "†" in row


def test_different_pairs_are_named(make: Make, tmp_path: Path) -> None:
    make("softmax")
    text = written(make("triplet", pairs_seed=3), tmp_path / "out")
    assert "No test on the same pairs for softmax vs triplet: different pairs." in text


def test_protocols_never_share_a_table(make: Make, tmp_path: Path) -> None:
    make("softmax")
    text = written(make("triplet", protocol="lfw"), tmp_path / "out")
    assert "## Figures on lfw" in text
    assert "## Figures on rendered" in text
    assert "- triplet: not evaluated on rendered." in text
    lfw = text.partition("## Figures on lfw")[2].partition("## Figures on rendered")[0]
    assert "| softmax |" not in lfw


def test_undefined_figures_say_so_with_their_reason(make: Make, tmp_path: Path) -> None:
    runs = make("softmax")
    path = next(runs.glob("*/record.json"))
    text = path.read_text().replace('"reasons": {}', '"reasons": {"eer": "there are no impostor pairs"}')
    path.write_text(re.sub(r'"eer": [0-9.e-]+', '"eer": "NaN"', text))
    text = written(runs, tmp_path / "out")
    assert "| undefined |" in text
    assert "- softmax s0: EER: there are no impostor pairs." in text
    rows = list(csv.DictReader((tmp_path / "out" / "table.csv").read_text().splitlines()))
    assert [row["mean"] for row in rows if row["metric"] == "eer"] == [""]


def test_gaps_are_in_the_report(make: Make, tmp_path: Path) -> None:
    make("softmax")
    text = written(make("center", state="FAILED", error="no memory"), tmp_path / "out")
    assert "## What is missing\n\n- center-63656e74-dada-s0: failed: no memory\n" in text


def test_nothing_finished_is_one_line(make: Make) -> None:
    runs = make("center", state="FAILED", error="no memory")
    with pytest.raises(UserError) as caught:
        make_report(read_runs([runs]), QUICK)
    assert str(caught.value) == (
        "there is no finished run to report (center-63656e74-dada-s0: failed: no memory)"
    )


def test_a_baseline_that_is_none_names_the_nearest(three: Path) -> None:
    with pytest.raises(UserError) as caught:
        make_report(read_runs([three]), Wishes(baseline="softmx"))
    assert str(caught.value) == (
        "--baseline softmx: none of softmax, center, triplet; did you mean 'softmax'?"
    )


def test_with_a_baseline_there_is_a_waterfall_and_no_places(three: Path, tmp_path: Path) -> None:
    text = written(three, tmp_path / "out", Wishes(baseline="softmax", waterfall=True, replicates=100))
    assert "figures/rendered_waterfall_accuracy.svg" in text
    assert "place by" not in text
    assert "center vs triplet" not in text


class Tags(HTMLParser):
    """Tags and addresses of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.addresses: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href", "onload", "onerror")]


def test_strings_of_configurations_cannot_break_out(make: Make, tmp_path: Path) -> None:
    make("softmax")
    config = config_of("triplet", plugins=[HOSTILE], loss={"name": "triplet", "note": HOSTILE})
    runs = make("triplet", config=config, commit=HOSTILE)
    text = written(runs, tmp_path / "out", Wishes(title=HOSTILE, replicates=100))
    html = MarkdownIt("commonmark").enable("table").render(text)
    for output in (html, (tmp_path / "out" / "report.html").read_text()):
        page = Tags()
        page.feed(output)
        assert "script" not in page.tags
        assert "a" not in page.tags
        assert all(address.startswith(("data:image/svg", "figures/")) for address in page.addresses)
    assert "alert(1)" in html  # it is shown, as text


def test_the_page_needs_nothing_from_outside(out: Path) -> None:
    page = (out / "report.html").read_text()
    assert "http" not in re.sub(r'src="data:[^"]+"', "", page)
    assert page.count("data:image/svg+xml;base64,") == 7


def test_markdown_shows_text_as_it_is() -> None:
    for text in (
        HOSTILE,
        "- item",
        "1. item",
        "a_b_c",
        "# title",
        "<!-- x -->",
        "a | b",
        "~~x~~",
        "back\\slash",
    ):
        html = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(escape(text))
        assert re.fullmatch(r"<p>[^<>]*</p>\n", html), html


def test_records_beside_the_report_make_its_figures_again_and_hold_no_paths(
    out: Path, tmp_path: Path
) -> None:
    again = written(out, tmp_path / "again")
    first = (out / "table.csv").read_bytes()
    assert (tmp_path / "again" / "table.csv").read_bytes() == first
    assert "No curves: the records were kept without metrics.jsonl." in again
    for path in (out / "records").iterdir():
        assert "/home/" not in path.read_text()
        assert "http://server" not in path.read_text()


def test_what_an_earlier_report_has_left_is_removed_and_nothing_else(make: Make, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "figures").mkdir(parents=True)
    (out / "figures" / "mine.png").touch()
    make("softmax")
    runs = make("triplet", metrics={"train/active_share": 0.4})
    written(runs, out)
    assert (out / "figures" / "mine.png").exists()  # there was no report yet
    assert (out / "figures" / "monitors.svg").exists()
    shutil.rmtree(next(runs.glob("triplet*")))
    (out / "records" / "old.json").touch()
    written(runs, out)
    assert not (out / "figures" / "monitors.svg").exists()
    assert [path.name for path in (out / "records").iterdir()] == ["softmax-736f6674-s0.json"]


def test_published_figures_stand_alone_and_are_never_ranked(out: Path) -> None:
    text = (out / "report.md").read_text()
    ours, _, published = text.partition("## Published figures, on LFW")
    assert "99.05" in published
    assert "99.05" not in ours
    assert "99.05" not in (out / "table.csv").read_text()


def test_every_published_row_has_its_source_and_its_distance_from_ours() -> None:
    rows = read_published()
    assert len(rows) >= 40
    for row in rows:
        assert all((row.system, row.source, row.distance, row.loss, row.lfw_accuracy)), row
        assert 50 < float(row.lfw_accuracy.partition(" ")[0].rstrip(";")) < 100
