"""Record runs in Weights & Biases; off-line by default, to be sent later with `wandb sync`."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from aiplat.datasets.versions import DatasetVersion
from aiplat.errors import ConfigError
from aiplat.store import files
from aiplat.tracking.tracker import RunRecord, Status


class WandbTracker:
    """One W&B run. Files of the run are not kept here: MLflow keeps them.

    mode: `offline` writes below `<storage>/wandb`, `online` sends to the server of the environment
        (`WANDB_API_KEY`, `WANDB_BASE_URL`).
    """

    def __init__(
        self,
        storage: str,
        project: str = "aiplat",
        entity: str | None = None,
        mode: Literal["offline", "online"] = "offline",
    ) -> None:
        if mode not in ("offline", "online"):
            raise ConfigError(f"tracking.also.wandb.mode={mode}: expected offline or online")
        if files.is_remote(storage):
            raise ConfigError(f"tracking=wandb needs a local storage folder, got {storage}")
        self.storage = storage
        self.project = project
        self.entity = entity
        self.mode = mode
        self._run: Any = None

    def open(self) -> None:
        """Import W&B."""
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        try:
            import wandb  # noqa: F401 - imported early because it is slow
        except ImportError as error:
            raise ConfigError(
                "tracking=wandb needs the extra: pip install 'aiplat[wandb]'"
            ) from error

    def start(self, run: RunRecord, resume: str | None = None) -> str:
        """Begin a W&B run of the id `resume`, or go on with it."""
        self.open()
        import wandb

        folder = Path(files.absolute(self.storage))
        folder.mkdir(parents=True, exist_ok=True)
        self._run = wandb.init(
            project=self.project,
            entity=self.entity,
            name=run.name,
            id=resume,
            resume="allow" if resume else None,
            mode=self.mode,
            dir=str(folder),
            config={**run.params, **run.tags},
            settings=wandb.Settings(
                silent=True, console="off", disable_git=True, disable_code=True
            ),
        )
        # W&B's own step cannot go back, which it does where a run is resumed from a checkpoint.
        self._run.define_metric("*", step_metric="step")
        return str(self._run.id)

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Queue the metrics; W&B's own process writes them."""
        self._run.log({**metrics, "step": step})

    def log_input(self, version: DatasetVersion, split: str) -> None:
        """Note the dataset version in the run's configuration."""
        self._run.config.update({f"data.{split}": version.id}, allow_val_change=True)

    def log_artifacts(self, path: Path, name: str) -> None:
        """Files stay with MLflow."""

    def tag(self, name: str, text: str) -> None:
        """Put the line into the run's summary."""
        self._run.summary[name] = text

    def finish(self, status: Status) -> None:
        """Write what is queued."""
        import wandb

        self._run.finish(exit_code=0 if status == "finished" else 1)
        # Only the end of W&B's own process says that its files are complete.
        wandb.teardown()
