"""The PNG files: same bytes for the same arrays, whatever the user's settings, and honest about bad input."""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.image import imread

from bench.verification import roc
from reports.colors import COLORS
from reports.figures import save_distance_histogram, save_roc, save_rocs


def _pairs(num_pairs: int = 600, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    same = np.arange(num_pairs) % 2 == 0
    return np.abs(draw.normal(np.where(same, 0.8, 1.5), 0.25)), same


def _curves(*seeds: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {f"loss {seed}": roc(*_pairs(seed=seed))[:2] for seed in seeds}


def _has_color(path: Path, color: str) -> bool:
    wanted = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return bool((np.abs(imread(path)[..., :3] - wanted).max(axis=-1) < 0.01).any())


def test_same_arrays_same_bytes_without_date_or_version(tmp_path: Path) -> None:
    for name in ("first", "second"):
        save_rocs(tmp_path / f"roc-{name}.png", _curves(0, 1), title="rendered")
        save_distance_histogram(tmp_path / f"distances-{name}.png", *_pairs(), threshold=1.1)
    for figure in ("roc", "distances"):
        first, second = ((tmp_path / f"{figure}-{name}.png").read_bytes() for name in ("first", "second"))
        assert first == second
        assert b"tEXt" not in first
        assert first.startswith(b"\x89PNG")


def test_the_users_own_matplotlib_settings_change_nothing(tmp_path: Path) -> None:
    save_rocs(tmp_path / "plain.png", _curves(0))
    with matplotlib.rc_context({"axes.facecolor": "black", "font.size": 30, "lines.linewidth": 9}):
        save_rocs(tmp_path / "styled.png", _curves(0))
        assert matplotlib.rcParams["font.size"] == 30
    assert (tmp_path / "plain.png").read_bytes() == (tmp_path / "styled.png").read_bytes()


def test_one_model_is_drawn_from_its_distances(tmp_path: Path) -> None:
    save_roc(tmp_path / "one.png", *_pairs(), title="rendered", name="loss 0")
    save_rocs(tmp_path / "curve.png", _curves(0), title="rendered")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "curve.png").read_bytes()


def test_pairs_of_one_kind_give_an_empty_roc_that_says_so(tmp_path: Path) -> None:
    distances, same = _pairs()
    save_roc(tmp_path / "one.png", distances, same | True)
    save_rocs(tmp_path / "two.png", {"empty": roc(distances, same | True)[:2], **_curves(0)})
    assert not _has_color(tmp_path / "one.png", COLORS[0])
    assert _has_color(tmp_path / "two.png", COLORS[1])


def test_each_curve_has_its_own_color(tmp_path: Path) -> None:
    save_rocs(tmp_path / "two.png", _curves(0, 1))
    assert [_has_color(tmp_path / "two.png", color) for color in COLORS[:3]] == [True, True, False]


def test_more_curves_than_colors_are_drawn(tmp_path: Path) -> None:
    save_rocs(tmp_path / "many.png", _curves(*range(9)), fars=(1e-2, 1e-1))
    assert all(_has_color(tmp_path / "many.png", color) for color in COLORS)


def test_the_threshold_is_drawn_where_there_is_one(tmp_path: Path) -> None:
    save_distance_histogram(tmp_path / "with.png", *_pairs(), threshold=1.1)
    save_distance_histogram(tmp_path / "elsewhere.png", *_pairs(), threshold=0.9)
    save_distance_histogram(tmp_path / "without.png", *_pairs(), threshold=np.nan)
    columns = [
        # black from top to bottom: the threshold's line, or the left axis, which all three have
        int((imread(tmp_path / name)[150:500, :, :3].max(axis=(0, 2)) < 0.05).sum())
        for name in ("with.png", "elsewhere.png", "without.png")
    ]
    assert columns[0] > columns[2]
    assert columns[1] > columns[2]
    assert (tmp_path / "with.png").read_bytes() != (tmp_path / "elsewhere.png").read_bytes()


def test_a_long_curve_shows_the_same_picture_as_all_its_points(tmp_path: Path, monkeypatch) -> None:
    far = np.linspace(0, 1, 100_001)
    curves = {"loss": (far, np.sqrt(far))}
    save_rocs(tmp_path / "thinned.png", curves)
    monkeypatch.setattr("reports.figures._POINTS", 200_000)
    save_rocs(tmp_path / "whole.png", curves)
    thinned, whole = (imread(tmp_path / name)[..., :3] for name in ("thinned.png", "whole.png"))
    # only antialiasing along the line may differ
    assert (np.abs(thinned - whole).max(axis=-1) > 0.3).mean() < 0.001


def test_pairs_of_one_kind_still_have_a_histogram(tmp_path: Path) -> None:
    distances, same = _pairs()
    save_distance_histogram(tmp_path / "one.png", distances[same], same[same], threshold=1.0)
    assert _has_color(tmp_path / "one.png", COLORS[0])


def test_distances_that_are_all_zero_still_have_a_histogram(tmp_path: Path) -> None:
    save_distance_histogram(tmp_path / "zero.png", np.zeros(4), np.arange(4) < 2, threshold=np.nan)
    assert (tmp_path / "zero.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("curves", "message"),
    [
        ({}, "a ROC figure needs at least one curve"),
        (
            {"a": ([0.0, 1.0], [1.0])},
            "curve 'a' needs far and val of one length, but got (2,) and (1,)",
        ),
    ],
)
def test_curves_that_cannot_be_drawn_are_refused(tmp_path: Path, curves, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        save_rocs(tmp_path / "no.png", curves)
    assert not list(tmp_path.iterdir())


def test_distances_that_cannot_be_drawn_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^distances must be finite to be drawn$"):
        save_distance_histogram(tmp_path / "no.png", [0.1, np.nan], [True, False], threshold=1)
    with pytest.raises(ValueError, match=r"must both be \(P,\), but got \(2,\) and \(1,\)$"):
        save_distance_histogram(tmp_path / "no.png", [0.1, 0.2], [True], threshold=1)
    assert not list(tmp_path.iterdir())
