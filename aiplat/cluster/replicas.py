"""What runs in the processes of an endpoint: the HTTP app, and replicas of models behind it."""

import asyncio
import logging
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from fastapi import FastAPI
from ray import serve
from ray.serve.handle import DeploymentHandle

from aiplat.cluster.haproxy import is_in_front
from aiplat.cluster.metrics import EndpointMetrics, ReplicaMetrics
from aiplat.cluster.remote import RemoteModel, Reply
from aiplat.cluster.scaling_policy import report_lateness
from aiplat.registry.versions import ModelVersion
from aiplat.serving.app import create_app
from aiplat.serving.config import ServingConfig
from aiplat.serving.keys.open import open_gate
from aiplat.serving.lateness import Lateness
from aiplat.serving.metering.books import Books, BooksPlace
from aiplat.serving.metering.claims import Claims
from aiplat.serving.metering.replica_time import ReplicaClock
from aiplat.serving.metering.usage import UsageRecord
from aiplat.serving.middleware import BehindGateway, BehindProxy
from aiplat.serving.served import ModelInfo, OverloadError, Row, RowsError, ServedModel

if TYPE_CHECKING:
    from aiplat.serving.replica import Replica

APPLICATION = "aiplat"
ENDPOINT = "endpoint"
# Of each model that a release tries, an application of its own.
CANDIDATES = f"{APPLICATION}-candidate-"

_POLL_S = 0.5


def deployment_name(model: str) -> str:
    """What Serve calls the replicas of a model."""
    return f"model-{model}"


def open_replica(
    name: str,
    version: ModelVersion,
    config: ServingConfig,
    clock: ReplicaClock,
    lateness: Lateness | None,
    computing: ThreadPoolExecutor | None = None,
) -> "Replica":
    """A model version that answers in this process, warmed up.

    clock: told how long it computed. lateness: told how late it answers. computing: one thread for
    the passes of several models; None: a thread of its own.
    """
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
    place = Place(clock.replica, ran, clock.unclaimed, config.max_in_hand, lateness, computing)
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
        self._books, self._claims = books.open(clock), Claims(clock.unclaimed)
        log_with_serve()
        lateness = Lateness.of(config)
        self._replica = open_replica(name, version, config, clock, lateness)
        report_lateness(self, lateness)

    def __del__(self) -> None:
        # Serve calls it when it lets the replica go; of one that is killed others tell.
        self._books.close()

    async def describe(self) -> ModelInfo:
        """What the model takes and answers."""
        return self._replica.info

    async def predict(self, rows: list[Row], request: str) -> Reply:
        """The answers to one request's rows; or, by row, why some have none; or a refusal."""
        return await reply_of(self._replica, rows, request, self._claims)

    async def left(self, requests: list[str]) -> None:
        """Endpoints gave requests up, to whichever replica they went."""
        self._claims.left(requests)

    async def check_health(self) -> None:
        """Raise where only a new replica helps; Serve then starts one."""
        self._replica.check()


async def reply_of(replica: "Replica", rows: list[Row], request: str, claims: Claims) -> Reply:
    """What a replica sends back for one request's rows. claims: told of the answer."""
    try:
        answers = await replica.predict(rows)
    except RowsError as error:
        return error.faults
    except OverloadError as error:
        return error
    claims.answered(request, answers.compute_s)
    return answers


def log_with_serve() -> None:
    """Have what we log in a replica, such as which engine answers, in Serve's log of it."""
    ours = logging.getLogger("aiplat")
    ours.handlers = list(logging.getLogger("ray.serve").handlers)
    ours.setLevel(logging.INFO)
    ours.propagate = False


class Endpoint:
    """The HTTP app in a replica of its own; it starts to answer when its models can."""

    def __init__(
        self,
        versions: Mapping[str, str],
        handles: Mapping[str, DeploymentHandle],
        config: ServingConfig,
        books: BooksPlace,
        gateway_secret: str | None,
    ) -> None:
        self._versions = versions
        self._handles = {name: handle_of(name, handles[name], config) for name in versions}
        self._config, self._place = config, books
        self._gateway_secret = gateway_secret
        self._books = books.open()
        self._infos: dict[str, ModelInfo] = {}
        log_with_serve()

    def __del__(self) -> None:
        # See ModelReplica.
        self._books.close()

    async def __serve_build_asgi_app__(self) -> FastAPI:
        """The app; Serve asks for it while it starts this replica."""
        names = list(self._versions)
        infos = await asyncio.gather(
            *(_described(self._handles[name], self._versions[name]) for name in names)
        )
        self._infos = dict(zip(names, infos, strict=True))
        models = {
            name: RemoteModel(info, self._handles[name]) for name, info in self._infos.items()
        }
        return await http_app(models, self._config, self._place, self._books, self._gateway_secret)

    async def deployed(self) -> tuple[Mapping[str, str], ServingConfig, BooksPlace]:
        """What this endpoint was deployed with: version by model, settings, and its books."""
        return self._versions, self._config, self._place

    async def describe(self, name: str) -> ModelInfo:
        """What a model takes and answers."""
        return self._infos[name]


def handle_of(name: str, handle: DeploymentHandle, config: ServingConfig) -> DeploymentHandle:
    """The handle to a model of the endpoint, given one to the deployment that it is in."""
    if config.models_per_replica is None:
        return handle
    chosen: DeploymentHandle = handle.options(multiplexed_model_id=name)
    return chosen


async def http_app(
    models: Mapping[str, ServedModel],
    config: ServingConfig,
    place: BooksPlace,
    books: Books,
    gateway_secret: str | None,
) -> FastAPI:
    """The app of a process that answers HTTP, as keys, releases and usage on this cluster want it.

    books: of this process, in `place`. gateway_secret: what the gateway of gRPC is known by; None:
    there is none.
    """
    # Here and not above: candidates are deployed as the endpoint's models are.
    from aiplat.cluster.candidates import open_candidate
    from aiplat.serving.releases.open import open_releases

    metrics = EndpointMetrics()

    def record(record: UsageRecord) -> None:
        books.record(record)
        metrics.asked(record)

    app = create_app(
        models,
        config,
        # Serve adds X-Request-Id by itself.
        echo_request_id=False,
        gate=await open_gate(config, place.records, count_endpoints, metrics.refused),
        record=record,
        router=open_releases(config, place.records, books, open_candidate, metrics.mirrored),
    )
    if gateway_secret is not None:
        app.add_middleware(BehindGateway, secret=gateway_secret)
    # Added last, it is asked first: the gateway asks through it.
    if is_in_front():
        app.add_middleware(BehindProxy)
    return app


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
