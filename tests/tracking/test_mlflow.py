import json
import math
import threading
from pathlib import Path
from typing import Any

import pytest
from mlflow.exceptions import MlflowException

from aiplat.datasets.versions import DatasetVersion
from aiplat.errors import AiplatError, ConfigError
from aiplat.store.mlflow import open_client, tracking_uri
from aiplat.tracking import mlflow as module
from aiplat.tracking.mlflow import MlflowTracker
from aiplat.tracking.tracker import RunRecord


class FullDatabase:
    """Takes no metrics, as a server that is away."""

    def log_batch(self, run_id: str, metrics: list[Any]) -> None:
        raise MlflowException("the server is away")


def record(storage: str, run_id: str) -> Any:
    return open_client(tracking_uri(storage, None)).get_run(run_id)


def history(storage: str, run_id: str, key: str) -> list[tuple[int, float]]:
    points = open_client(tracking_uri(storage, None)).get_metric_history(run_id, key)
    return [(point.step, point.value) for point in points]


def test_a_run_is_recorded_with_its_params_metrics_and_end(storage: str, run: RunRecord) -> None:
    tracker = MlflowTracker(storage, experiment="shapes")
    run_id = tracker.start(run)
    for step in range(3):
        tracker.log({"train/loss": 1 / (step + 1), "train/rows_per_s": 10.0}, step)
    tracker.tag("failure", "lost at step 1")
    tracker.finish("finished")
    kept = record(storage, run_id)
    assert kept.data.tags["failure"] == "lost at step 1"
    assert kept.info.run_name == "clip"
    assert kept.info.status == "FINISHED"
    assert kept.data.params == {"loop.max_epochs": "3"}
    assert kept.data.tags["commit"] == kept.data.tags["mlflow.source.git.commit"] == "abc"
    assert history(storage, run_id, "train/loss") == [(0, 1.0), (1, 0.5), (2, 1 / 3)]


def test_metrics_are_written_in_batches_not_one_by_one(
    storage: str, run: RunRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FLUSH_S", math.inf)
    tracker = MlflowTracker(storage)
    run_id = tracker.start(run)
    for step in range(499):
        tracker.log({"loss": float(step)}, step)
    assert history(storage, run_id, "loss") == []
    tracker.log({"loss": 499.0}, 499)
    assert len(history(storage, run_id, "loss")) == 500


def test_a_metric_that_is_not_a_number_is_recorded_as_such(storage: str, run: RunRecord) -> None:
    tracker = MlflowTracker(storage)
    run_id = tracker.start(run)
    tracker.log({"loss": math.nan}, 0)
    tracker.finish("failed")
    [(_, value)] = history(storage, run_id, "loss")
    assert math.isnan(value)
    assert record(storage, run_id).info.status == "FAILED"


def test_a_resumed_run_goes_on_in_its_record_and_keeps_its_params(
    storage: str, run: RunRecord
) -> None:
    first = MlflowTracker(storage)
    run_id = first.start(run)
    first.log({"loss": 2.0}, 0)
    first.finish("stopped")
    again = MlflowTracker(storage)
    changed = RunRecord("clip", {"loop.max_epochs": "5", "scale.num_workers": "2"}, run.tags)
    assert again.start(changed, resume=run_id) == run_id
    again.log({"loss": 1.0}, 1)
    again.finish("finished")
    kept = record(storage, run_id)
    assert kept.data.params == {"loop.max_epochs": "3", "scale.num_workers": "2"}
    assert kept.data.tags["resumed.loop.max_epochs"] == "5"
    assert history(storage, run_id, "loss") == [(0, 2.0), (1, 1.0)]
    assert kept.info.status == "FINISHED"


def test_a_run_whose_record_is_gone_gets_a_new_one(storage: str, run: RunRecord) -> None:
    tracker = MlflowTracker(storage)
    run_id = tracker.start(run, resume="f" * 32)
    assert run_id != "f" * 32
    assert record(storage, run_id).data.params == run.params


def test_more_params_than_one_call_takes_and_very_long_ones_are_recorded(storage: str) -> None:
    params = {f"key.{index}": "x" * 10_000 for index in range(201)}
    tracker = MlflowTracker(storage)
    kept = record(storage, tracker.start(RunRecord("wide", params))).data.params
    assert kept.keys() == params.keys()
    assert {len(value) for value in kept.values()} == {6000}


def test_keys_and_values_that_mlflow_would_refuse_are_recorded_nearly_as_they_are(
    storage: str,
) -> None:
    params = {"task.fields.size (cm)": "", "task.fields.größe": "1"}
    kept = record(storage, MlflowTracker(storage).start(RunRecord("odd", params))).data.params
    assert kept == {"task.fields.size _cm_": "", "task.fields.größe": "1"}


def test_the_dataset_version_is_an_input_with_its_digest(
    storage: str, run: RunRecord, version: DatasetVersion
) -> None:
    tracker = MlflowTracker(storage)
    run_id = tracker.start(run)
    tracker.log_input(version, "train")
    [entry] = record(storage, run_id).inputs.dataset_inputs
    assert (entry.dataset.name, entry.dataset.digest) == ("shapes", "0123456789abcdef")
    assert json.loads(entry.dataset.source) == {
        "uri": "file:///data/shapes",
        "id": "shapes@0123456789abcdef",
    }
    assert json.loads(entry.dataset.profile) == {"num_rows": 7}
    assert {tag.key: tag.value for tag in entry.tags} == {"mlflow.data.context": "train"}


def test_files_and_folders_are_kept_under_storage(
    storage: str, run: RunRecord, tmp_path: Path
) -> None:
    folder = tmp_path / "samples"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "a b.txt").write_text("inner")
    (tmp_path / "note.txt").write_text("outer")
    tracker = MlflowTracker(storage, experiment="shapes")
    run_id = tracker.start(run)
    tracker.log_artifacts(folder, "samples")
    tracker.log_artifacts(tmp_path / "note.txt", "notes")
    kept = Path(storage) / "mlartifacts" / "shapes" / run_id / "artifacts"
    assert (kept / "samples" / "deep" / "a b.txt").read_text() == "inner"
    assert (kept / "notes" / "note.txt").read_text() == "outer"


def test_metrics_that_cannot_be_written_are_kept_and_written_later(
    storage: str, run: RunRecord, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_FLUSH_S", 0.0)
    tracker = MlflowTracker(storage)
    run_id = tracker.start(run)
    client = tracker._client
    tracker._client = FullDatabase()
    tracker.log({"loss": 2.0}, 0)
    tracker.log({"loss": 1.0}, 1)
    assert caplog.text.count("does not take metrics") == 1
    tracker._client = client
    tracker.log({"loss": 0.5}, 2)
    assert history(storage, run_id, "loss") == [(0, 2.0), (1, 1.0), (2, 0.5)]


def test_metrics_that_are_lost_at_the_end_are_no_secret(storage: str, run: RunRecord) -> None:
    tracker = MlflowTracker(storage)
    tracker.start(run)
    tracker._client = FullDatabase()
    tracker.log({"loss": 2.0}, 0)
    with pytest.raises(AiplatError, match="1 metrics are lost"):
        tracker.finish("finished")


def test_opening_in_the_background_is_waited_for_by_start(storage: str, run: RunRecord) -> None:
    tracker = MlflowTracker(storage)
    threads = [threading.Thread(target=tracker.open) for _ in range(3)]
    for thread in threads:
        thread.start()
    run_id = tracker.start(run)
    for thread in threads:
        thread.join()
    assert record(storage, run_id).info.status == "RUNNING"


def test_a_run_can_be_logged_from_another_thread_than_it_was_started_in(
    storage: str, run: RunRecord
) -> None:
    tracker = MlflowTracker(storage)
    run_id = tracker.start(run)

    def log_steps() -> None:
        for step in range(600):
            tracker.log({"loss": 1.0}, step)

    thread = threading.Thread(target=log_steps)
    thread.start()
    thread.join()
    tracker.finish("finished")
    assert len(history(storage, run_id, "loss")) == 600


def test_a_deleted_experiment_is_an_error_that_says_how_to_restore_it(
    storage: str, run: RunRecord
) -> None:
    client = open_client(tracking_uri(storage, None))
    client.delete_experiment(client.create_experiment("old"))
    with pytest.raises(ConfigError, match=r"tracking\.experiment=old was deleted .* restore -x"):
        MlflowTracker(storage, experiment="old").start(run)


def test_making_a_tracker_touches_neither_disk_nor_network(tmp_path: Path) -> None:
    MlflowTracker(str(tmp_path / "none"))
    MlflowTracker("s3://bucket/none", uri="http://127.0.0.1:9")
    assert not (tmp_path / "none").exists()
