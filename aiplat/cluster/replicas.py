"""What runs in the processes of an endpoint: the HTTP app, and replicas of models behind it."""

import asyncio
import logging
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fastapi import FastAPI
from ray import serve
from ray.exceptions import RayActorError
from ray.serve.exceptions import (
    BackPressureError,
    DeploymentUnavailableError,
    ReplicaUnavailableError,
)
from ray.serve.handle import DeploymentHandle

from aiplat.cluster.autoscaling import report_lateness
from aiplat.cluster.haproxy import is_in_front
from aiplat.cluster.metrics import EndpointMetrics, ReplicaMetrics
from aiplat.registry.versions import ModelVersion
from aiplat.serving.app import create_app
from aiplat.serving.config import ServingConfig
from aiplat.serving.keys.open import open_gate
from aiplat.serving.lateness import Lateness
from aiplat.serving.metering.books import BooksPlace
from aiplat.serving.metering.replica_time import ReplicaClock
from aiplat.serving.metering.usage import UsageRecord
from aiplat.serving.served import (
    Answers,
    Fault,
    ModelInfo,
    OverloadError,
    Row,
    RowsError,
    ServedModel,
)

if TYPE_CHECKING:
    from aiplat.serving.replica import Replica

APPLICATION = "aiplat"
ENDPOINT = "endpoint"

# What a replica sends back: raised, it would come with Ray's tracebacks around it.
_Reply = Answers | dict[int, Fault] | OverloadError
# Without any replica, too: autoscaling starts one for the request that comes.
_ANSWERING = ("HEALTHY", "UPSCALING", "DOWNSCALING")
_POLL_S = 0.5


def deployment_name(model: str) -> str:
    """What Serve calls the replicas of a model."""
    return f"model-{model}"


def open_replica(
    name: str, version: ModelVersion, config: ServingConfig, clock: ReplicaClock
) -> "Replica":
    """A model version that answers in this process, warmed up. clock: told how long it computed."""
    metrics = ReplicaMetrics(name, str(version.version))

    def ran(rows: int, seconds: float) -> None:
        clock.ran(seconds)
        metrics.passed(rows, seconds)

    # Read as torch is loaded: threads that wait by turning take the CPU from other replicas.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Here and not above: an endpoint imports this module too, and most of them need no torch.
    from aiplat.inference.opening import Wanted, open_version
    from aiplat.registry.versions import fetch
    from aiplat.serving.replica import Place, Replica

    folder = fetch(version)
    given = config.replica
    device = "auto" if given.num_gpus else "cpu"
    predictor = open_version(version, Wanted(given.engine, given.precision, device, given.threads))
    info = ModelInfo(
        name=name,
        version=str(version.version),
        inputs=predictor.task_inputs,
        outputs=predictor.task_outputs,
        dataset=folder.dataset,
        labels=folder.info.labels,
        metrics=folder.metrics,
    )
    limit_ms = config.autoscaling.slo_p99_ms
    lateness = None if limit_ms is None else Lateness(limit_ms / 1000)
    place = Place(clock.replica, ran, config.max_in_hand, lateness)
    replica = Replica(predictor, info, config.batching, given.threads, place)
    replica.warm_up()
    return replica


class ModelReplica:
    """One replica of a model version."""

    def __init__(
        self, name: str, version: ModelVersion, config: ServingConfig, books: BooksPlace
    ) -> None:
        # From here on it costs what it costs, whether it answers or not.
        clock = ReplicaClock(name, str(version.version))
        self._books = books.open(clock)
        log_with_serve()
        self._replica = open_replica(name, version, config, clock)
        report_lateness(self, self._replica.lateness)

    def __del__(self) -> None:
        # Serve calls it when it lets the replica go; of one that is killed others tell.
        self._books.close()

    async def describe(self) -> ModelInfo:
        """What the model takes and answers."""
        return self._replica.info

    async def predict(self, rows: list[Row]) -> _Reply:
        """The answers to one request's rows; or, by row, why some have none; or a refusal."""
        try:
            return await self._replica.predict(rows)
        except RowsError as error:
            return error.faults
        except OverloadError as error:
            return error

    async def check_health(self) -> None:
        """Raise where only a new replica helps; Serve then starts one."""
        self._replica.check()


def log_with_serve() -> None:
    """Have what we log in a replica, such as which engine answers, in Serve's log of it."""
    ours = logging.getLogger("aiplat")
    ours.handlers = list(logging.getLogger("ray.serve").handlers)
    ours.setLevel(logging.INFO)
    ours.propagate = False


class RemoteModel:
    """A served model whose replicas answer through a Serve handle."""

    def __init__(self, info: ModelInfo, handle: DeploymentHandle) -> None:
        self.info = info
        self._handle = handle

    async def predict(self, rows: Sequence[Row]) -> Answers:
        """Answer the rows of one request."""
        try:
            reply = await self._ask(list(rows))
        except BackPressureError as error:
            raise OverloadError(f"too many requests wait for {self.info.name}") from error
        except (DeploymentUnavailableError, RayActorError, ReplicaUnavailableError) as error:
            raise OverloadError(f"no replica of {self.info.name} can answer just now") from error
        if isinstance(reply, Answers):
            return reply
        raise reply if isinstance(reply, OverloadError) else RowsError(reply)

    async def _ask(self, rows: list[Row]) -> _Reply:
        try:
            return await self._ask_once(rows)
        except (RayActorError, ReplicaUnavailableError):
            # The replica died with the request; answering changes nothing, so another one may.
            return await self._ask_once(rows)

    async def _ask_once(self, rows: list[Row]) -> _Reply:
        response = self._handle.predict.remote(rows)
        try:
            reply: _Reply = await response
        except asyncio.CancelledError:
            # The client left or was told that it took too long. Serve lets the replica know of the
            # one and not of the other.
            response.cancel()
            raise
        return reply

    async def ready(self) -> bool:
        """Whether a replica runs, or none is wanted until someone asks."""
        status = await asyncio.to_thread(serve.status)
        application = status.applications.get(APPLICATION)
        if application is None:
            return False
        deployment = application.deployments.get(deployment_name(self.info.name))
        if deployment is None:
            return False
        return deployment.status in _ANSWERING or deployment.replica_states.get("RUNNING", 0) > 0


class Endpoint:
    """The HTTP app in a replica of its own; it starts to answer when its models can."""

    def __init__(
        self,
        versions: Mapping[str, str],
        handles: Mapping[str, DeploymentHandle],
        config: ServingConfig,
        books: BooksPlace,
    ) -> None:
        self._versions = versions
        self._handles = handles
        self._config = config
        self._place = books
        self._books = books.open()
        self._metrics = EndpointMetrics()
        log_with_serve()

    def __del__(self) -> None:
        # See ModelReplica.
        self._books.close()

    async def __serve_build_asgi_app__(self) -> FastAPI:
        """The app; Serve asks for it while it starts this replica."""
        gate = await open_gate(
            self._config, self._place.records, count_endpoints, self._metrics.refused
        )
        names = list(self._versions)
        infos = await asyncio.gather(
            *(_described(self._handles[name], self._versions[name]) for name in names)
        )
        models: dict[str, ServedModel] = {
            name: RemoteModel(info, self._handles[name])
            for name, info in zip(names, infos, strict=True)
        }
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


async def count_endpoints() -> int:
    """How many replicas of the endpoint run."""
    status = await asyncio.to_thread(serve.status)
    deployment = status.applications[APPLICATION].deployments[ENDPOINT]
    return deployment.replica_states.get("RUNNING", 0)


async def _described(handle: DeploymentHandle, version: str) -> ModelInfo:
    """What the model's replicas say of themselves, once the first of that version runs."""
    while True:
        info: ModelInfo = await handle.describe.remote()
        # While an update rolls out, a replica of the old version may be the one that answers.
        if info.version == version:
            return info
        await asyncio.sleep(_POLL_S)
