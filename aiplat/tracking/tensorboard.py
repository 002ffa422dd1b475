"""Write a run's metrics as TensorBoard event files.

`tensorboard --logdir <storage>/tensorboard` shows them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiplat.datasets.versions import DatasetVersion
from aiplat.errors import ConfigError
from aiplat.store import files
from aiplat.tracking.tracker import RunRecord, Status


class TensorBoardTracker:
    """Event files in a folder a run. Files of the run are not kept here: MLflow keeps them.

    folder: where the runs' folders go; null: `<storage>/tensorboard`.
    """

    def __init__(self, storage: str, folder: str | None = None) -> None:
        self.folder = folder or files.join(storage, "tensorboard")
        if files.is_remote(self.folder):
            raise ConfigError(
                f"tracking.also.tensorboard.folder: {self.folder} is in an object store, where "
                "event files cannot grow; set it to a local folder"
            )
        self._writer_type: Any = None
        self._writer: Any = None

    def open(self) -> None:
        """Import TensorBoard."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ConfigError(
                "tracking=tensorboard needs the extra: pip install 'aiplat[tensorboard]'"
            ) from error
        self._writer_type = SummaryWriter

    def start(self, run: RunRecord, resume: str | None = None) -> str:
        """Begin an event file; a resumed run adds one to its folder."""
        if self._writer_type is None:
            self.open()
        self._writer = self._writer_type(str(Path(files.absolute(self.folder)) / run.name))
        lines = [f"    {key}: {value}" for key, value in {**run.params, **run.tags}.items()]
        self._writer.add_text("run", "\n".join(lines))
        return resume or run.name

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Queue the metrics; TensorBoard's own thread writes them."""
        for key, value in metrics.items():
            self._writer.add_scalar(key, value, step)

    def log_input(self, version: DatasetVersion, split: str) -> None:
        """Note the dataset version as text."""
        self._writer.add_text(f"data/{split}", f"{version.id} ({version.num_rows(split)} rows)")

    def log_artifacts(self, path: Path, name: str) -> None:
        """Files stay with MLflow."""

    def tag(self, name: str, text: str) -> None:
        """Note the line as text."""
        self._writer.add_text(name, text)

    def finish(self, status: Status) -> None:
        """Write what is queued."""
        self._writer.add_text("status", status)
        self._writer.close()
