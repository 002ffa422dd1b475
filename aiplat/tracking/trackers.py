"""The record of a run in MLflow, on which the model registry builds, and in other trackers."""

from collections.abc import Mapping
from pathlib import Path

from aiplat.datasets.versions import DatasetVersion
from aiplat.tracking.mlflow import MlflowTracker
from aiplat.tracking.tracker import RunRecord, Status, Tracker


class Trackers:
    """MLflow and the trackers of `also`, told the same; the run's id is MLflow's in all of them."""

    def __init__(
        self,
        storage: str,
        uri: str | None = None,
        experiment: str = "aiplat",
        also: Mapping[str, Tracker] | None = None,
    ) -> None:
        self.mlflow = MlflowTracker(storage, uri, experiment)
        self.all: list[Tracker] = [self.mlflow, *(also or {}).values()]

    def open(self) -> None:
        """Open each."""
        for tracker in self.all:
            tracker.open()

    def start(self, run: RunRecord, resume: str | None = None) -> str:
        """Begin or go on in each; the id is MLflow's."""
        self.open()
        run_id = self.mlflow.start(run, resume)
        for tracker in self.all[1:]:
            tracker.start(run, run_id)
        return run_id

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Note metrics of a step in each."""
        for tracker in self.all:
            tracker.log(metrics, step)

    def log_input(self, version: DatasetVersion, split: str) -> None:
        """Note in each that the run reads this split."""
        for tracker in self.all:
            tracker.log_input(version, split)

    def log_artifacts(self, path: Path, name: str) -> None:
        """Hand the files to each."""
        for tracker in self.all:
            tracker.log_artifacts(path, name)

    def tag(self, name: str, text: str) -> None:
        """Note the line in each."""
        for tracker in self.all:
            tracker.tag(name, text)

    def finish(self, status: Status) -> None:
        """Close each, MLflow's record last: once it is closed, the run's record is complete."""
        for tracker in reversed(self.all):
            tracker.finish(status)
