"""An endpoint whose model computes in the process that answers HTTP: nothing is passed on."""

from collections.abc import Mapping, Sequence

from fastapi import FastAPI

from aiplat.cluster.replicas import http_app, log_with_serve, open_replica
from aiplat.cluster.scaling_policy import report_lateness
from aiplat.registry.versions import ModelVersion
from aiplat.serving.config import ServingConfig
from aiplat.serving.lateness import Lateness
from aiplat.serving.metering.books import BooksPlace
from aiplat.serving.metering.replica_time import ReplicaClock
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
        self,
        name: str,
        version: ModelVersion,
        config: ServingConfig,
        books: BooksPlace,
        gateway_secret: str | None,
    ) -> None:
        self._versions = {name: str(version.version)}
        clock = ReplicaClock(name, self._versions[name])
        self._config, self._place = config, books
        self._gateway_secret = gateway_secret
        self._books = books.open(clock)
        log_with_serve()
        lateness = Lateness.of(config)
        self._replica = open_replica(name, version, config, clock, lateness)
        report_lateness(self, lateness)

    def __del__(self) -> None:
        # Serve calls it when it lets the replica go; of one that is killed others tell.
        self._books.close()

    async def __serve_build_asgi_app__(self) -> FastAPI:
        """The app; Serve asks for it while it starts this replica."""
        model = LocalModel(self._replica)
        models = {model.info.name: model}
        return await http_app(models, self._config, self._place, self._books, self._gateway_secret)

    async def deployed(self) -> tuple[Mapping[str, str], ServingConfig, BooksPlace]:
        """What this endpoint was deployed with: version by model, settings, and its books."""
        return self._versions, self._config, self._place

    async def describe(self, _name: str) -> ModelInfo:
        """What the model takes and answers."""
        return self._replica.info

    async def check_health(self) -> None:
        """Raise where only a new replica helps; Serve then starts one."""
        self._replica.check()
