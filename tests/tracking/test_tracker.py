import subprocess
import sys

from aiplat.datasets.versions import DatasetVersion
from aiplat.tracking.tracker import NoTracker, RunRecord, run_record


def test_the_record_has_the_flat_configuration_without_secrets() -> None:
    config = {"loop": {"max_epochs": 3, "clip_norm": None}, "hub": {"token": "s3cret"}, "exp": [1]}
    record = run_record("clip", config, {"dataset": "shapes@1"})
    assert record.params == {
        "loop.max_epochs": "3",
        "loop.clip_norm": "null",
        "hub.token": "(hidden)",
        "exp": "[1]",
    }
    assert record.tags["dataset"] == "shapes@1"
    assert record.tags["commit"]
    assert record.tags["environment.python"].startswith("3.")


def test_no_tracker_takes_everything_and_has_no_id(run: RunRecord, version: DatasetVersion) -> None:
    tracker = NoTracker()
    tracker.open()
    assert tracker.start(run) == ""
    tracker.log({"loss": 1.0}, 0)
    tracker.log_input(version, "train")
    tracker.finish("finished")


def test_naming_trackers_imports_none_of_the_tracking_systems() -> None:
    modules = "tracker, trackers, mlflow, tensorboard, wandb"
    code = (
        f"import sys; from aiplat.tracking import {modules}; "
        "print([name for name in ('mlflow', 'torch', 'wandb', 'ray') if name in sys.modules])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"
