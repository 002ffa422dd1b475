"""What runs and endpoints tell Prometheus, by the address at which each node of Ray is scraped."""

from collections.abc import Mapping
from typing import Any

from ray.util.metrics import Counter, Gauge, Histogram

from aiplat.serving.metering.usage import UsageRecord

# From a small model's pass to a request that waits for a replica to start.
_SECONDS = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0]
_ROWS = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0]
_MODEL = ("model", "version")


class RunMetrics:
    """Tells how a training run goes. name: of the run."""

    def __init__(self, name: str) -> None:
        self._tags = {"run": name}
        self._speed = Gauge("aiplat_train_rows_per_second", "Rows of all workers.", ("run",))
        self._wait = Gauge(
            "aiplat_train_data_wait_fraction", "Of the time: workers wait for data.", ("run",)
        )

    def follow(self, event: Mapping[str, Any]) -> None:
        """Take an event of the run."""
        if event["kind"] == "step":
            self._speed.set(event["rows_per_s"], self._tags)
            self._wait.set(event["data_wait_fraction"], self._tags)

    def close(self) -> None:
        """The run has ended, or waits: what was told last is not so any more."""
        self._speed.set(0, self._tags)
        self._wait.set(0, self._tags)


class EndpointMetrics:
    """Counts the requests of a replica of the endpoint."""

    def __init__(self) -> None:
        self._requests = Counter(
            "aiplat_requests", "Requests that a model was asked with.", (*_MODEL, "status")
        )
        self._rows = Counter("aiplat_rows", "Rows of answered requests.", _MODEL)
        self._seconds = Histogram(
            "aiplat_request_seconds", "From a request to its answer.", _SECONDS, _MODEL
        )
        self._queue = Histogram(
            "aiplat_queue_seconds", "On a replica before the model runs.", _SECONDS, _MODEL
        )
        self._refusals = Counter(
            "aiplat_refusals", "Requests that were not let in, by why.", ("reason",)
        )
        self._mirrored = Counter(
            "aiplat_mirrored", "Requests that two versions were to be asked with.", ("outcome",)
        )

    def asked(self, record: UsageRecord) -> None:
        """A request has its answer, whatever that is."""
        tags = {"model": record.endpoint, "version": record.version}
        self._requests.inc(1, {**tags, "status": str(record.status)})
        self._seconds.observe(record.total_s, tags)
        if record.replica:
            self._queue.observe(record.queue_s, tags)
            self._rows.inc(record.rows, tags)

    def mirrored(self, outcome: str) -> None:
        """A request was compared between versions, or was not."""
        self._mirrored.inc(1, {"outcome": outcome})

    def refused(self, reason: str) -> None:
        """A request was not let in."""
        self._refusals.inc(1, {"reason": reason})


class ReplicaMetrics:
    """Counts the passes of a model's replica."""

    def __init__(self, model: str, version: str) -> None:
        self._tags = {"model": model, "version": version}
        self._batch = Histogram("aiplat_batch_rows", "Rows of a pass.", _ROWS, _MODEL)
        self._seconds = Histogram("aiplat_pass_seconds", "Of a pass.", _SECONDS, _MODEL)

    def passed(self, rows: int, seconds: float) -> None:
        """The model has run."""
        self._batch.observe(rows, self._tags)
        self._seconds.observe(seconds, self._tags)
