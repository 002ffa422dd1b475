"""Record runs in MLflow: a database under storage, or any server or database by its URI."""

import json
import logging
import re
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiplat.datasets.versions import DatasetVersion
from aiplat.errors import AiplatError
from aiplat.store import mlflow as store
from aiplat.tracking.tracker import RunRecord, Status

# What MLflow accepts in one call and in one value.
_MAX_PARAMS = 100
_MAX_METRICS = 1000
_MAX_VALUE_LENGTH = 6000
_MAX_DIGEST_LENGTH = 36
_REFUSED = re.compile(r"[^\w.\-/ :]")

_FLUSH_AT = 500
_FLUSH_S = 5.0
# A server that is away for hours must not fill the memory of the run.
_MAX_BUFFERED = 200_000

_STATUS = {"finished": "FINISHED", "failed": "FAILED", "stopped": "KILLED"}

_logger = logging.getLogger(__name__)


class MlflowTracker:
    """One MLflow run. Metrics are written in batches, so `log` costs nothing most of the time.

    uri: an MLflow server or a database; null: SQLite under `storage`.
    """

    def __init__(self, storage: str, uri: str | None = None, experiment: str = "aiplat") -> None:
        self.storage = storage
        self.uri = store.tracking_uri(storage, uri)
        self.experiment = experiment
        self.run_id = ""
        self._client: Any = None
        self._opening = threading.Lock()
        self._buffer: list[Any] = []
        self._tried_at = time.monotonic()
        self._failing = False

    def open(self) -> None:
        """Import MLflow, and create or migrate the database."""
        with self._opening:
            if self._client is None:
                self._client = store.open_client(self.uri)

    def start(self, run: RunRecord, resume: str | None = None) -> str:
        """Begin an MLflow run; one to resume that the database does not have begins anew."""
        self.open()
        before = self._find(resume) if resume else None
        if before is None:
            experiment = store.experiment_id(self._client, self.storage, self.uri, self.experiment)
            tags = {**run.tags, "mlflow.source.git.commit": run.tags.get("commit", "")}
            if run.parent:
                tags["mlflow.parentRunId"] = run.parent
            begun = self._client.create_run(experiment, run_name=run.name, tags=tags)
            self.run_id = str(begun.info.run_id)
            self._log_params(run.params)
        else:
            self.run_id = str(before.info.run_id)
            self._client.update_run(self.run_id, status="RUNNING")
            self._log_params_again(run.params, before.data.params)
        return self.run_id

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Buffer the metrics; every few seconds they are written together."""
        from mlflow.entities import Metric

        now_ms = int(time.time() * 1000)
        self._buffer += [Metric(key, float(value), now_ms, step) for key, value in metrics.items()]
        # One attempt every few seconds is enough where the last one failed.
        full = len(self._buffer) >= _FLUSH_AT and not self._failing
        if full or time.monotonic() - self._tried_at >= _FLUSH_S:
            self._try_flush()

    def log_input(self, version: DatasetVersion, split: str) -> None:
        """Note the dataset version, its digest the version's content hash."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        columns = [{"name": column.name, "type": column.kind} for column in version.info.columns]
        dataset = Dataset(
            name=version.name,
            digest=version.version[:_MAX_DIGEST_LENGTH],
            source_type="aiplat",
            source=json.dumps({"uri": version.uri, "id": version.id}),
            schema=json.dumps({"columns": columns}),
            profile=json.dumps({"num_rows": version.num_rows(split)}),
        )
        tags = [InputTag("mlflow.data.context", split)]
        self._client.log_inputs(self.run_id, [DatasetInput(dataset, tags)])

    def log_artifacts(self, path: Path, name: str) -> None:
        """Copy a file, or all files of a folder, to the run's folder `name`."""
        if path.is_dir():
            self._client.log_artifacts(self.run_id, str(path), name)
        else:
            self._client.log_artifact(self.run_id, str(path), name)

    def tag(self, name: str, text: str) -> None:
        """Set the tag; a database that does not take it is only warned of."""
        from mlflow.exceptions import MlflowException

        try:
            self._client.set_tag(self.run_id, name, text[:_MAX_VALUE_LENGTH])
        except MlflowException as error:
            _logger.warning("%s does not take the tag %s: %s", self.uri, name, error)

    def finish(self, status: Status) -> None:
        """Write what is buffered and close the run."""
        from mlflow.exceptions import MlflowException

        try:
            self._flush()
            self._client.set_terminated(self.run_id, _STATUS[status])
        except MlflowException as error:
            raise AiplatError(
                f"tracking.uri={self.uri}: run {self.run_id} could not be closed and "
                f"{len(self._buffer)} metrics are lost: {error}"
            ) from error

    def _find(self, run_id: str) -> Any:
        from mlflow.exceptions import MlflowException

        try:
            return self._client.get_run(run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            _logger.warning("%s has no run %s any more: a new record begins", self.uri, run_id)
            return None

    def _log_params(self, params: Mapping[str, str]) -> None:
        from mlflow.entities import Param

        pairs = [
            Param(_REFUSED.sub("_", key), value[:_MAX_VALUE_LENGTH])
            for key, value in params.items()
        ]
        for start in range(0, len(pairs), _MAX_PARAMS):
            self._client.log_batch(self.run_id, params=pairs[start : start + _MAX_PARAMS])

    def _log_params_again(self, params: Mapping[str, str], before: Mapping[str, str]) -> None:
        """MLflow's params cannot change; what a resumed run changed is tagged beside them."""
        self._log_params({key: value for key, value in params.items() if key not in before})
        for key, value in params.items():
            if key in before and before[key] != value[:_MAX_VALUE_LENGTH]:
                self._client.set_tag(self.run_id, f"resumed.{key}", value[:_MAX_VALUE_LENGTH])

    def _try_flush(self) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._flush()
        except MlflowException as error:
            if not self._failing:
                _logger.warning("%s does not take metrics, they are kept: %s", self.uri, error)
            self._failing = True
            del self._buffer[:-_MAX_BUFFERED]
        else:
            self._failing = False
        self._tried_at = time.monotonic()

    def _flush(self) -> None:
        while self._buffer:
            self._client.log_batch(self.run_id, metrics=self._buffer[:_MAX_METRICS])
            del self._buffer[:_MAX_METRICS]
