"""An endpoint whose model computes in the process that answers HTTP: nothing is passed on."""

from collections.abc import Sequence

from fastapi import FastAPI

from aiplat.cluster.autoscaling import report_lateness
from aiplat.cluster.haproxy import is_in_front
from aiplat.cluster.metrics import EndpointMetrics
from aiplat.cluster.replicas import count_endpoints, log_with_serve, open_replica
from aiplat.registry.versions import ModelVersion
from aiplat.serving.app import create_app
from aiplat.serving.config import ServingConfig
from aiplat.serving.keys.open import open_gate
from aiplat.serving.metering.books import BooksPlace
from aiplat.serving.metering.replica_time import ReplicaClock
from aiplat.serving.metering.usage import UsageRecord
from aiplat.serving.replica import Replica
from aiplat.serving.served import Answers, ModelInfo, Row


class LocalModel:
    """A served model that computes in this process."""

    def __init__(self, replica: Replica) -> None:
        self.info = replica.info
        self._replica = replica

    async def predict(self, rows: Sequence[Row]) -> Answers:
        """Answer the rows of one request."""
        return await self._replica.predict(rows)

    async def ready(self) -> bool:
        """Whether a request would be answered now."""
        return True


class ColocatedEndpoint:
    """The HTTP app and its one model."""

    def __init__(
        self, name: str, version: ModelVersion, config: ServingConfig, books: BooksPlace
    ) -> None:
        clock = ReplicaClock(name, str(version.version))
        self._config, self._place = config, books
        self._books = books.open(clock)
        self._metrics = EndpointMetrics()
        log_with_serve()
        self._replica = open_replica(name, version, config, clock)
        report_lateness(self, self._replica.lateness)

    def __del__(self) -> None:
        # Serve calls it when it lets the replica go; of one that is killed others tell.
        self._books.close()

    async def describe(self) -> ModelInfo:
        """What the model takes and answers."""
        return self._replica.info

    async def check_health(self) -> None:
        """Raise where only a new replica helps; Serve then starts one."""
        self._replica.check()

    async def __serve_build_asgi_app__(self) -> FastAPI:
        """The app; Serve asks for it while it starts this replica."""
        model = LocalModel(self._replica)
        gate = await open_gate(
            self._config, self._place.records, count_endpoints, self._metrics.refused
        )
        models = {model.info.name: model}
        return create_app(
            models,
            self._config,
            # Serve adds X-Request-Id by itself.
            echo_request_id=False,
            gate=gate,
            record=self._record,
            behind_proxy=is_in_front(),
        )

    def _record(self, record: UsageRecord) -> None:
        self._books.record(record)
        self._metrics.asked(record)
