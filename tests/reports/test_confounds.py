"""Everything but the loss that differs, in words."""

from __future__ import annotations

from pathlib import Path

from bench.results import Alignment, RunFolder, WarmStart
from reports.confounds import find_confounds, listed, loss_settings
from reports.groups import make_groups
from reports.records import read_runs

from .conftest import Make, config_of


def sentences(runs: Path) -> list[str]:
    return [one.sentence() for one in find_confounds(make_groups(read_runs([runs]).runs))]


def test_groups_that_differ_in_the_loss_alone_have_none(make: Make) -> None:
    make("softmax")
    runs = make("center", config=config_of("center", loss={"name": "center", "factor": 0.01}))
    assert sentences(runs) == []


def test_a_component_of_another_name_is_one_sentence_with_its_options(make: Make) -> None:
    make("center")
    make("softmax")
    runs = make("triplet", config=config_of("triplet", batch={"name": "pk", "people": 32, "images": 4}))
    assert sentences(runs) == [
        "Batches: random (size 128) for center and softmax; pk (people 32, images 4) for triplet."
    ]


def test_every_setting_is_found_known_by_a_better_name_or_not(make: Make) -> None:
    make("softmax")
    other = config_of("triplet")
    other["optimizer"]["learning_rate"] = 0.1
    other["evaluate"]["flip"] = "concat"
    other["backbone"]["embedding_dim"] = 512
    other["augment"]["new_option"] = [1, 2]
    other["init"] = {"from": "runs/softmax"}
    runs = make("triplet", config=other, commit="d1" * 20)
    assert sentences(runs) == [
        "Embedding size: 128 for softmax; 512 for triplet.",
        "Learning rate: 0.002 for softmax; 0.1 for triplet.",
        "Mirrored image at test: none for softmax; concat for triplet.",
        "Commit of the code: c0c0c0c0c0c0 for softmax; d1d1d1d1d1d1 for triplet.",
        "Augmentation: new_option: not recorded for softmax; [1, 2] for triplet.",
        "Warm start: from: not recorded for softmax; runs/softmax for triplet.",
    ]


def test_images_of_the_run_that_the_weights_come_from_are_named(make: Make) -> None:
    make("softmax")
    runs = make("triplet")
    (folder,) = (RunFolder(path) for path in runs.glob("triplet-*"))
    record = folder.record()
    assert record is not None
    start = WarmStart(
        source="runs/softmax",
        name="softmax",
        config_hash="ab" * 32,
        step=300,
        images=38_400,
        sha256="cd" * 32,
        backbone_only=True,
    )
    folder.write_record(record.model_copy(update={"init": start}))
    assert sentences(runs) == [
        "Images that the weights at the start had been trained on: 0 for softmax; 38,400 for triplet."
    ]


def test_how_faces_were_cut_out_is_named_where_groups_differ(make: Make) -> None:
    box = Alignment(method="box", size_px=64, margin_px=32)
    points = Alignment(method="five_point", size_px=64, margin_px=0)
    for name, cut in (("softmax", box), ("center", box), ("triplet", points), ("old", None)):
        runs = make(name)
        (folder,) = (RunFolder(path) for path in runs.glob(f"{name}-*"))
        record = folder.record()
        assert record is not None
        changes = {"alignment": cut, "test_alignment": {"lfw": box}}
        folder.write_record(record.model_copy(update=changes))
    assert sentences(runs) == [
        "Alignment of the training faces: the detector's box with a margin of 32 px, 64 px for center and "
        "softmax; not recorded for old; five points on ArcFace's template, 64 px for triplet."
    ]


def test_what_varies_between_the_seeds_of_one_group_is_named_too(make: Make) -> None:
    make("softmax", 0)
    runs = make("softmax", 1, commit="d1" * 20)
    assert sentences(runs) == ["Commit of the code: c0c0c0c0c0c0 or d1d1d1d1d1d1 for softmax."]


def test_a_sum_of_losses_reads_as_one(make: Make) -> None:
    terms = [
        {"loss": {"name": "softmax", "bias": True}, "weight": 1.0, "start_epoch": 0.0, "warmup_epochs": 0.0},
        {"loss": {"name": "triplet", "alpha": 0.2}, "weight": 0.5, "start_epoch": 2.0, "warmup_epochs": 1.0},
    ]
    runs = make("joint", config=config_of("joint", loss={"name": "sum", "terms": terms}))
    assert loss_settings(make_groups(read_runs([runs]).runs)) == {
        "joint": "softmax (bias yes) + 0.5 x triplet (alpha 0.2) from epoch 2 on, growing over 1 epochs"
    }


def test_names_in_a_row_read_as_english() -> None:
    assert [listed(list("a")), listed(list("ab")), listed(list("abc"))] == ["a", "a and b", "a, b and c"]
