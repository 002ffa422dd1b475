"""What an endpoint tells Prometheus, through the address at which each node of Ray is scraped."""

from ray.util.metrics import Counter, Histogram

from aiplat.serving.metering.usage import UsageRecord

# From a small model's pass to a request that waits for a replica to start.
_SECONDS = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0]
_ROWS = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0]
_MODEL = ("model", "version")


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
