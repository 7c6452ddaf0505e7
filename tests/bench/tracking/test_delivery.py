from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from bench.errors import BenchError, UserError
from bench.results import RunFolder, Tags, write_text
from bench.tracking import Delivery, StoreUnreachable, TrackingRefused, deliver, is_delivered
from bench.tracking import delivery as delivery_module
from bench.tracking.settings import sqlite_path
from bench.tracking.store import Store


def test_finished_run_is_whole_in_mlflow(run, settings, seen):
    run.write_environment()
    for step in range(1, 11):
        run.log(step)
    run.write_artifacts()
    run.end("FINISHED")

    delivery = deliver(run.folder, settings)

    shown = seen.run()
    assert delivery == Delivery(shown.info.run_id, "FINISHED", num_points=24, is_complete=True)
    assert shown.info.status == "FINISHED"
    assert shown.info.run_name == "center-abababab-s3"
    assert shown.info.end_time - shown.info.start_time == 330_000
    assert seen.points() == [(step, 1 / step) for step in range(1, 11)]
    assert seen.points("rendered/accuracy") == [(10, 0.985)]
    assert math.isnan(seen.points("rendered/eer")[0][1])
    assert shown.data.params["loss.factor"] == "0.01"
    assert shown.data.params["schedule.steps"] == "{0: 0.1, 150: 0.01}"
    assert shown.data.params["runtime.threads"] == "null"
    expected_tags = {
        "seed": "3",
        "config_hash": "ab" * 32,
        "data_checksum": "cd" * 32,
        "git_commit": "ef" * 20,
        "device": "cpu",
        "threads": "2",
        "code_version": "0.1.0",
        "state": "FINISHED",
        "mlflow.note.content": "center loss, as in the post",
        "packages.torch": "2.15",
    }
    assert expected_tags.items() <= shown.data.tags.items()
    assert seen.artifacts() == ["config.yaml", "figures/rendered_roc.png", "pairs.npz", "record.json"]


def test_a_run_is_delivered_once_its_end_is_told_and_until_its_files_tell_more(run, settings):
    assert not is_delivered(run.folder)
    run.log(1)
    deliver(run.folder, settings)
    assert not is_delivered(run.folder)  # it may go on
    run.end("FINISHED")
    assert not is_delivered(run.folder)
    deliver(run.folder, settings)
    assert is_delivered(run.folder)
    deliver(run.folder, settings)
    assert is_delivered(run.folder)
    run.folder.write_tags(Tags(tags={"trial_state": "COMPLETE"}))
    assert not is_delivered(run.folder)
    deliver(run.folder, settings)
    assert is_delivered(run.folder)


def test_checkpoint_is_uploaded_only_where_asked(run, settings, seen):
    run.write_artifacts()
    run.end("FINISHED")
    deliver(run.folder, replace(settings, upload_checkpoint=True))
    assert "checkpoints/step-00000010.pt" in seen.artifacts()
    assert "checkpoints/step-00000005.pt" not in seen.artifacts()


def test_folder_without_state_is_left_alone(tmp_path, settings, seen):
    (tmp_path / "runs" / "x").mkdir(parents=True)
    assert deliver(RunFolder(tmp_path / "runs" / "x"), settings) == Delivery()
    assert seen.runs() == []


def test_running_run_shows_durable_metrics_only(run, settings, seen):
    run.log(1)
    run.log(2)
    run.checkpoint()
    run.log(3)
    deliver(run.folder, settings)
    assert seen.steps() == [1, 2]
    assert seen.run().info.status == "RUNNING"


def test_delivering_twice_changes_nothing(run, settings, seen):
    run.log(1)
    run.checkpoint()
    deliver(run.folder, settings)
    assert deliver(run.folder, settings).num_points == 0
    run.log(2)
    run.end("FINISHED")
    deliver(run.folder, settings)
    before = seen.run()
    assert deliver(run.folder, settings).num_points == 0
    after = seen.run()
    assert str(after) == str(before)  # as text: nan differs from itself
    assert seen.steps() == [1, 2]


def test_lost_offset_file_makes_no_double(run, settings, seen):
    run.log(1)
    run.log(2, {"train/loss": math.nan})
    run.checkpoint()
    deliver(run.folder, settings)
    run.folder.tracking.unlink()
    run.log(3)
    run.end("FINISHED")
    deliver(run.folder, settings)
    assert seen.steps() == [1, 2, 3]


def test_damaged_offset_file_makes_no_double(run, settings, seen, caplog):
    run.log(1)
    run.checkpoint()
    deliver(run.folder, settings)
    run.folder.tracking.write_text('{"run_key": "ab')
    deliver(run.folder, settings)
    assert seen.steps() == [1]
    assert f"{run.folder.tracking}: damaged; asking MLflow what it has of this run" in caplog.messages


def test_torn_last_line_waits_until_it_is_whole(run, settings, seen):
    run.log(1)
    run.tear()
    run.end("FINISHED")
    deliver(run.folder, settings)
    assert seen.steps() == [1]


def test_damaged_line_is_named_after_everything_before_it_is_delivered(run, settings, seen):
    run.log(1)
    run.checkpoint()
    deliver(run.folder, settings)
    run.log(2)
    run.tear("garbage\n")
    run.end("FINISHED")
    with pytest.raises(BenchError, match=r"metrics\.jsonl: damaged behind byte \d+: not a line of metrics"):
        deliver(run.folder, settings)


def test_values_that_are_no_numbers_arrive(run, settings, seen):
    run.log(1, {"a": math.nan, "b": math.inf, "c": -math.inf, "d": 1e-320, "e": 5})
    run.end("FINISHED", record=False)
    deliver(run.folder, settings)
    values = {name: seen.points(name)[0][1] for name in "abcde"}
    assert math.isnan(values["a"])
    assert values["b"] > 1e308  # SQL stores keep the largest number for infinity
    assert values["c"] < -1e308
    assert (values["d"], values["e"]) == (1e-320, 5.0)


def test_names_that_mlflow_refuses_are_spelled_otherwise(run, settings, seen):
    run.log(1, {"/loss@0.2=x": 1.0, "../up": 2.0})
    run.end("FINISHED", record=False)
    deliver(run.folder, settings)
    assert set(seen.run().data.metrics) == {"loss_0.2_x", "up"}


def test_more_points_in_a_line_than_fit_in_a_call_arrive(run, settings, seen):
    run.log(1, {f"m{number}": float(number) for number in range(1500)})
    run.log(2, {f"m{number}": float(number) for number in range(700)})
    run.end("FINISHED", record=False)
    assert deliver(run.folder, settings).num_points == 2200
    assert seen.points("m1499") == [(1, 1499.0)]
    assert seen.steps("m699") == [1, 2]


def test_long_parameter_is_cut_and_whole_in_the_artifact(make_run, settings, seen):
    run = make_run(config=f"name: center\nlong: {'y' * 7000}\n{'k' * 300}: 1\nempty: ''\n")
    deliver(run.folder, settings)
    shown = seen.run()
    assert len(shown.data.params["long"]) == 6000
    assert shown.data.params["long"].endswith("y ... (cut; whole in config.yaml)")
    assert shown.data.params["k" * 250] == "1"
    assert shown.data.params["empty"] == ""
    assert (Path(shown.info.artifact_uri) / "config.yaml").read_text() == run.folder.config.read_text()


def test_many_parameters_need_several_calls(make_run, settings, seen):
    run = make_run(config="".join(f"p{number}: {number}\n" for number in range(250)))
    deliver(run.folder, settings)
    assert len(seen.run().data.params) == 250


def test_resumed_run_continues_under_its_id(run, settings, seen):
    run.log(1)
    run.checkpoint()
    run.end("KILLED", "SIGTERM received")
    first = deliver(run.folder, settings)
    killed = seen.run()
    assert (killed.info.status, killed.data.tags["error"]) == ("KILLED", "SIGTERM received")

    run.resume()
    again = deliver(run.folder, settings)
    resumed = seen.run()
    assert again.run_id == first.run_id
    assert resumed.info.status == "RUNNING"
    assert "error" not in resumed.data.tags

    run.log(2)
    run.end("FINISHED")
    deliver(run.folder, settings)
    assert seen.run().info.status == "FINISHED"
    assert seen.steps() == [1, 2]


def test_killed_run_keeps_back_what_a_resume_repeats(run, settings, seen):
    run.log(1)
    run.checkpoint()
    run.log(2, time_ms=5)
    run.end("KILLED")
    deliver(run.folder, settings)
    assert seen.steps() == [1]
    run.resume()
    run.log(2, time_ms=6)
    run.log(3)
    run.end("FINISHED")
    deliver(run.folder, settings)
    assert seen.steps() == [1, 2, 3]


def test_failed_run_shows_its_last_steps_and_a_resume_doubles_none(run, settings, seen):
    run.log(1)
    run.checkpoint()
    run.log(2, time_ms=5)
    run.log(2, {"validation/accuracy": 0.5}, time_ms=5)
    run.log(3, time_ms=5)
    run.end("FAILED", "no space")
    deliver(run.folder, settings)
    assert seen.run().info.status == "FAILED"
    assert seen.steps() == [1, 2, 3]

    run.resume()
    for step in (2, 3, 4):
        run.log(step, time_ms=6)
    run.log(2, {"validation/accuracy": 0.5}, time_ms=6)
    run.end("FINISHED")
    deliver(run.folder, settings)
    assert seen.steps() == [1, 2, 3, 4]
    assert seen.steps("validation/accuracy") == [2]


def test_parameter_changed_by_a_resume_stays_as_first_told(run, settings, seen):
    deliver(run.folder, settings)
    write_text(run.folder.config, run.folder.config.read_text().replace("threads: null", "threads: 4"))
    deliver(run.folder, settings)
    shown = seen.run()
    assert shown.data.params["runtime.threads"] == "null"
    assert "threads: 4" in (Path(shown.info.artifact_uri) / "config.yaml").read_text()


def test_second_evaluation_replaces_the_figures(run, settings, seen):
    run.log(1)
    record = run.end("FINISHED")
    deliver(run.folder, settings)
    better = record.protocols["rendered"].model_copy(update={"metrics": {"accuracy": 0.99}})
    run.folder.write_record(
        record.model_copy(update={"protocols": {"rendered": better}, "ended_at": "2026-11-02T10:00:00+00:00"})
    )
    deliver(run.folder, settings)
    assert seen.run().data.metrics["rendered/accuracy"] == 0.99


def test_name_given_in_the_ui_stays(run, settings, seen):
    deliver(run.folder, settings)
    seen.client.update_run(seen.run().info.run_id, name="my favourite")
    run.log(1)
    run.end("FINISHED")
    deliver(run.folder, settings)
    assert seen.run().info.run_name == "my favourite"


def test_same_config_run_elsewhere_is_another_run(make_run, settings, seen):
    deliver(make_run("one").folder, settings)
    deliver(make_run("two").folder, settings)
    assert len(seen.runs()) == 2


def test_second_store_gets_everything_and_the_first_is_not_forgotten(run, make_settings, seen_in):
    here, there = make_settings("here"), make_settings("there")
    run.log(1)
    run.checkpoint()
    deliver(run.folder, here)
    run.log(2)
    run.end("FINISHED")
    deliver(run.folder, there)
    assert seen_in(there).steps() == [1, 2]
    assert deliver(run.folder, here).num_points == 2 + 4
    assert seen_in(here).steps() == [1, 2]


def test_store_that_was_emptied_is_filled_again(run, settings, make_settings, seen_in):
    run.log(1)
    run.end("FINISHED")
    deliver(run.folder, settings)
    other = make_settings("emptied")
    run.folder.tracking.write_text(run.folder.tracking.read_text().replace("/store/", "/emptied/"))
    deliver(run.folder, other)
    assert seen_in(other).steps() == [1]
    assert seen_in(other).run().info.status == "FINISHED"


def test_run_deleted_in_mlflow_is_not_made_again(run, settings, seen):
    run_id = deliver(run.folder, settings).run_id
    seen.client.delete_run(run_id)
    with pytest.raises(
        TrackingRefused,
        match=f"its run {run_id} was deleted in MLflow .*; bring it back with: mlflow runs restore --run-id",
    ):
        deliver(run.folder, settings)
    run.folder.tracking.unlink()
    with pytest.raises(TrackingRefused, match="was deleted in MLflow"):
        deliver(run.folder, settings)


def test_deleted_experiment_is_one_line(run, settings, seen):
    experiment = seen.client.get_experiment_by_name("faces")
    seen.client.delete_experiment(experiment.experiment_id)
    with pytest.raises(UserError, match="experiment 'faces' was deleted there; restore it with 'mlflow exp"):
        deliver(run.folder, settings)


def test_damaged_config_is_one_line(run, settings):
    run.folder.config.write_text("a: [")
    with pytest.raises(BenchError, match=r"config\.yaml: not YAML: ") as caught:
        deliver(run.folder, settings)
    assert "\n" not in str(caught.value)


class Crash(BaseException):
    """The process dies here."""


@contextmanager
def crash_after(operation: int) -> Iterator[Callable[[], int]]:
    """Die behind the n-th thing that leaves a trace: a call that changes the store, or tracking.json."""
    done = 0

    def dying(function):
        def call(*arguments, **options):
            nonlocal done
            answer = function(*arguments, **options)
            done += 1
            if done == operation:
                raise Crash
            return answer

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in ("create_run", "log_params", "log_tags", "log_metrics", "upload", "terminate"):
            patch.setattr(Store, name, dying(getattr(Store, name)))
        patch.setattr(delivery_module, "save_ledger", dying(delivery_module.save_ledger))
        yield lambda: done


def _scripted(make_run, name: str):
    run = make_run(name)
    run.log(1)
    run.log(2, {"m0": 1.0, "m1": math.nan, "m2": 2.0})
    run.log(2)
    run.log(3)
    run.write_artifacts()
    run.end("FINISHED", steps=3)
    return run


def test_crash_at_any_point_loses_nothing_and_doubles_nothing(make_run, make_settings, seen_in, monkeypatch):
    monkeypatch.setattr(delivery_module, "_POINTS_PER_CALL", 4)  # several calls for few points
    whole = make_settings("whole")
    with crash_after(0) as count:
        deliver(_scripted(make_run, "whole").folder, whole)
    operations = count()
    assert operations > 12
    shared = make_settings("crashed")
    for operation in range(1, operations + 1):
        settings = replace(shared, experiment=f"crash after {operation}")
        run = _scripted(make_run, f"crash-{operation}")
        with crash_after(operation), pytest.raises(Crash):
            deliver(run.folder, settings)
        if operation % 2 == 0:
            run.folder.tracking.unlink(missing_ok=True)
        assert deliver(run.folder, settings).is_complete
        seen, expected = seen_in(settings), seen_in(whole)
        assert len(seen.runs()) == 1, operation
        for metric in ("train/loss", "train/rate", "m0", "rendered/accuracy"):
            assert seen.points(metric) == expected.points(metric), (operation, metric)
        assert seen.steps("m1") == [2], operation  # nan
        assert seen.steps("rendered/eer") == [3], operation
        assert seen.artifacts() == expected.artifacts(), operation
        assert seen.run().info.status == "FINISHED"
        assert seen.run().data.params == expected.run().data.params


def test_crash_between_sending_and_noting_then_a_resume_that_rewrites_doubles_nothing(run, settings, seen):
    run.log(1)
    run.checkpoint()
    deliver(run.folder, settings)
    run.log(2, time_ms=5)
    run.end("FAILED", "no space")
    with crash_after_sending(), pytest.raises(Crash):
        deliver(run.folder, settings)
    run.resume()
    run.log(2, time_ms=6)
    run.end("FINISHED", steps=2)
    deliver(run.folder, settings)
    assert seen.steps() == [1, 2]


@contextmanager
def crash_after_sending() -> Iterator[None]:
    """Die when the store has the metrics and nothing here says so."""
    sent = Store.log_metrics

    def send_and_die(*arguments):
        sent(*arguments)
        raise Crash

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "log_metrics", send_and_die)
        yield


def test_crash_as_the_run_is_created_then_a_resume_finds_that_run(run, settings, seen):
    created = Store.create_run

    def create_and_die(*arguments):
        created(*arguments)
        raise Crash

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "create_run", create_and_die)
        with pytest.raises(Crash):
            deliver(run.folder, settings)
    run.resume()  # another start time
    run.end("FINISHED")
    deliver(run.folder, settings)
    assert len(seen.runs()) == 1


def test_two_processes_that_meet_before_the_run_exists_create_it_once(
    run, settings, seen, in_child, monkeypatch
):
    look = Store.find_run

    def find_and_wait(*arguments):
        found = look(*arguments)
        time.sleep(0.5)  # so that the other one looks too
        return found

    monkeypatch.setattr(Store, "find_run", find_and_wait)
    children = [in_child(lambda: deliver(run.folder, settings, wait_s=200)) for _ in range(2)]
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert codes == [0, 0]
    assert len(seen.runs()) == 1


def test_folder_that_another_process_delivers_is_left_alone(run, settings):
    from filelock import FileLock

    with FileLock(run.folder.path / "tracking.lock"):
        assert deliver(run.folder, settings) == Delivery(is_busy=True)


def test_locked_database_is_away_for_now(run, settings, monkeypatch):
    from sqlalchemy.exc import OperationalError

    deliver(run.folder, settings)

    def locked(*arguments):
        raise OperationalError("UPDATE", {}, Exception("database is locked"))

    monkeypatch.setattr("mlflow.MlflowClient.get_run", locked)
    with pytest.raises(StoreUnreachable, match=r"mlflow\.db cannot be used \(database is locked\)"):
        deliver(run.folder, settings)


def test_a_database_truncated_in_the_middle_is_named_and_a_new_one_gets_everything(
    run, settings, seen, injected
):
    run.log(1)
    run.checkpoint()
    deliver(run.folder, settings)
    database = sqlite_path(settings.uri)
    whole = database.read_bytes()
    injected("MLflow's SQLite file truncated in the middle of a run", "nothing: it is delivered again")
    database.write_bytes(whole[: len(whole) // 2])
    run.log(2)
    run.end("FINISHED")
    with pytest.raises(BenchError) as raised:
        deliver(run.folder, settings)
    assert str(raised.value).startswith(f"MLflow at {settings.uri} cannot be used (")
    assert len(str(raised.value).splitlines()) == 1
    database.write_bytes(whole)
    delivery = deliver(run.folder, settings)
    assert delivery.is_complete
    assert seen.points() == [(1, 1.0), (2, 0.5)]
