from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from aiplat.config.search import conf_dir
from aiplat.config.targets import build, problems
from aiplat.datasets.versions import DatasetVersion
from aiplat.errors import ConfigError
from aiplat.store.mlflow import open_client, tracking_uri
from aiplat.tracking.tensorboard import TensorBoardTracker
from aiplat.tracking.tracker import RunRecord, Status
from aiplat.tracking.trackers import Trackers
from aiplat.tracking.wandb import WandbTracker


class Diary:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def open(self) -> None:
        self.told.append("open")

    def start(self, run: RunRecord, resume: str | None = None) -> str:
        self.told.append(("start", run.name, resume))
        return "of its own"

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        self.told.append((dict(metrics), step))

    def log_input(self, version: DatasetVersion, split: str) -> None:
        self.told.append((version.id, split))

    def log_artifacts(self, path: Path, name: str) -> None:
        self.told.append((path, name))

    def tag(self, name: str, text: str) -> None:
        self.told.append((name, text))

    def finish(self, status: Status) -> None:
        self.told.append(status)


def test_all_trackers_are_told_the_same_and_share_mlflows_id(
    storage: str, run: RunRecord, version: DatasetVersion, tmp_path: Path
) -> None:
    diary = Diary()
    (tmp_path / "note.txt").write_text("x")
    trackers = Trackers(storage, also={"diary": diary})
    run_id = trackers.start(run)
    trackers.log({"loss": 1.0}, 4)
    trackers.log_input(version, "train")
    trackers.log_artifacts(tmp_path / "note.txt", "notes")
    trackers.tag("failure", "oom at step 3")
    trackers.finish("stopped")
    assert diary.told == [
        "open",
        ("start", "clip", run_id),
        ({"loss": 1.0}, 4),
        (version.id, "train"),
        (tmp_path / "note.txt", "notes"),
        ("failure", "oom at step 3"),
        "stopped",
    ]
    kept = open_client(tracking_uri(storage, None)).get_run(run_id)
    assert kept.data.metrics == {"loss": 1.0}
    assert kept.info.status == "KILLED"


@pytest.mark.parametrize(
    "path", sorted((conf_dir() / "tracking").glob("*.yaml")), ids=lambda p: p.stem
)
def test_every_tracking_file_has_only_keys_that_its_target_takes(path: Path) -> None:
    node = yaml.safe_load(path.read_text())
    if node.pop("defaults", None):
        node |= yaml.safe_load((path.parent / "mlflow.yaml").read_text()) | {"also": node["also"]}
    assert problems("tracking", node, {"storage"}) == []


def test_the_choices_are_found() -> None:
    names = {path.stem for path in (conf_dir() / "tracking").glob("*.yaml")}
    assert names == {"mlflow", "tensorboard", "wandb", "none"}


def test_a_node_builds_its_nested_trackers_in_the_same_storage(tmp_path: Path) -> None:
    node = {
        "_target_": "aiplat.tracking.trackers.Trackers",
        "uri": None,
        "also": {"tensorboard": {"_target_": "aiplat.tracking.tensorboard.TensorBoardTracker"}},
    }
    mlflow, tensorboard = build(node, storage=str(tmp_path)).all
    assert mlflow.uri == f"sqlite:///{tmp_path}/mlflow.db"
    assert tensorboard.folder == f"{tmp_path}/tensorboard"


def test_tensorboard_writes_event_files_below_the_runs_name(
    tmp_path: Path, run: RunRecord, version: DatasetVersion
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tracker = TensorBoardTracker(str(tmp_path))
    assert tracker.start(run, resume="7") == "7"
    for step in range(3):
        tracker.log({"train/loss": 1 / (step + 1)}, step)
    tracker.log_input(version, "train")
    tracker.finish("finished")
    events = EventAccumulator(str(tmp_path / "tensorboard" / "clip"))
    events.Reload()
    points = [(point.step, round(point.value, 3)) for point in events.Scalars("train/loss")]
    assert points == [(0, 1.0), (1, 0.5), (2, 0.333)]


def test_wandb_writes_its_run_under_storage_when_off_line(
    tmp_path: Path, run: RunRecord, version: DatasetVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_DIR", str(tmp_path / "elsewhere"))
    tracker = WandbTracker(str(tmp_path))
    assert tracker.start(run, resume="0123abcd") == "0123abcd"
    tracker.log({"train/loss": 1.0}, 5)
    tracker.log({"train/loss": 0.5}, 3)
    tracker.log_input(version, "train")
    tracker.finish("finished")
    [file] = (tmp_path / "wandb").glob("offline-run-*/run-0123abcd.wandb")
    assert b"train/loss" in file.read_bytes()


def test_an_object_store_cannot_hold_event_files() -> None:
    with pytest.raises(ConfigError, match=r"tensorboard\.folder: s3://bucket/tensorboard"):
        TensorBoardTracker("s3://bucket")
    with pytest.raises(ConfigError, match="local storage"):
        WandbTracker("s3://bucket")


def test_a_mode_that_wandb_does_not_have_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="mode=of-line: expected offline or online"):
        WandbTracker(str(tmp_path), mode="of-line")  # type: ignore[arg-type]
