"""Many small models in the processes of one deployment, loaded as they are asked for.

Serve's multiplexing keeps those that were asked last and tells routers which replica has which.
"""

import asyncio
import gc
import logging
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from ray import serve

from aiplat.cluster.remote import Reply
from aiplat.cluster.replicas import log_with_serve, open_replica, reply_of
from aiplat.cluster.scaling_policy import report_lateness
from aiplat.errors import AiplatError, ClusterError
from aiplat.registry.versions import ModelVersion
from aiplat.serving.config import ServingConfig
from aiplat.serving.lateness import Lateness
from aiplat.serving.metering.books import BooksPlace
from aiplat.serving.metering.claims import Claims
from aiplat.serving.metering.replica_time import ReplicaClock
from aiplat.serving.served import ModelInfo, OverloadError, Row

if TYPE_CHECKING:
    from aiplat.serving.replica import Replica

LOG = logging.getLogger(__name__)
PACKED = "packed-models"
# Of the process in the books: the usage records say which model had which of its seconds.
_ALL = "*"
# For so long a model that could not be loaded is not tried again: each time another one makes room.
_REST_S = 10


class PackedReplica:
    """One process for all models of an endpoint; the request says which one is meant.

    num_models: open at a time; the next one takes the place of the one that rested longest.
    """

    def __init__(
        self,
        num_models: int,
        versions: Mapping[str, ModelVersion],
        config: ServingConfig,
        books: BooksPlace,
    ) -> None:
        # From here on it costs what it costs, whether it answers or not.
        self._clock = ReplicaClock(_ALL, "")
        self._books, self._claims = books.open(self._clock), Claims(self._clock.unclaimed)
        log_with_serve()
        self._versions, self._config = versions, config
        self._open: WeakValueDictionary[str, Replica] = WeakValueDictionary()
        self._loading: dict[str, asyncio.Future[Replica]] = {}
        self._waiting = Counter[str]()
        self._failure: Exception | None = None
        self._lateness = Lateness.of(config)
        report_lateness(self, self._lateness)
        threads = config.replica.threads
        # One for all: passes of several models at once would take the processor from each other,
        # and their seconds would add up to more than there were.
        self._computing = ThreadPoolExecutor(1, initializer=_use_threads, initargs=(threads,))

        async def load(name: str) -> "Replica":
            return await self.open(name)

        # Gives a model that is open, or makes room and opens it.
        self.load = serve.multiplexed(max_num_models_per_replica=num_models)(load)
        # Each once: who has a model that cannot be loaded is not ready, and an update ends there.
        self._infos = {name: self._opened(name).info for name in versions}

    def __del__(self) -> None:
        # Serve calls it when it lets the replica go; of one that is killed others tell.
        self._books.close()

    async def open(self, name: str) -> "Replica":
        """Open a model beside those that answer. Raises ClusterError where that takes too long."""
        limit_s = self._config.start_timeout_s
        opening = asyncio.ensure_future(asyncio.to_thread(self._opened, name))
        # Serve loads one model after the other: those that come next do not wait for ever.
        if not (await asyncio.wait({opening}, timeout=limit_s))[0]:
            raise ClusterError(
                f"{self._versions[name].id} cannot be loaded: that took longer than {limit_s:g} s "
                "(serve.start_timeout_s)"
            )
        self._open[name] = replica = opening.result()
        return replica

    async def describe(self) -> ModelInfo:
        """What the model takes and answers."""
        return self._infos[serve.get_multiplexed_model_id()]

    async def predict(self, rows: list[Row], request: str) -> Reply:
        """The answers to one request's rows; or, by row, why some have none; or a refusal."""
        return await self.answer(serve.get_multiplexed_model_id(), rows, request)

    async def left(self, requests: list[str]) -> None:
        """Endpoints gave requests up, to whichever replica they went."""
        self._claims.left(requests)

    async def answer(self, name: str, rows: list[Row], request: str) -> Reply:
        """What `predict` says of a model."""
        if self._waiting[name] >= self._config.max_in_hand:
            return OverloadError(f"too many requests wait for {name}")
        self._waiting[name] += 1
        try:
            replica = await self._loaded(name)
        except Exception:
            # The log has the cause, which is not for everybody.
            return OverloadError(f"{name} cannot be loaded just now", _REST_S)
        finally:
            self._waiting[name] -= 1
        return await reply_of(replica, rows, request, self._claims)

    async def check_health(self) -> None:
        """Raise where only a new replica helps; Serve then starts one."""
        if self._failure is not None:
            raise self._failure
        for replica in list(self._open.values()):
            replica.check()

    async def _loaded(self, name: str) -> "Replica":
        loading = self._loading.get(name)
        if loading is None:
            # One for all that wait: where it fails it does so once.
            loading = self._loading[name] = asyncio.ensure_future(self.load(name))
            loading.add_done_callback(lambda done: self._settle(name, done))
        # A client that leaves does not end what others wait for, and what the next would begin.
        return await asyncio.shield(loading)

    def _settle(self, name: str, loading: "asyncio.Future[Replica]") -> None:
        error = None if loading.cancelled() else loading.exception()
        if error is None:
            del self._loading[name]
        else:
            LOG.error("a model could not be loaded", exc_info=error)
            asyncio.get_running_loop().call_later(_REST_S, self._loading.pop, name)

    def _opened(self, name: str) -> "Replica":
        # The one that was let go to make room; while it answers requests it stays.
        gc.collect()
        version = self._versions[name]
        try:
            return open_replica(
                name, version, self._config, self._clock, self._lateness, self._computing
            )
        except AiplatError as error:
            raise ClusterError(f"{version.id} cannot be loaded: {error}") from error
        except Exception as error:
            if _is_lost_device(error):
                self._failure = error
            error.add_note(f"while {version.id} was loaded")
            raise


def _use_threads(number: int) -> None:
    # By now a model is open, and torch was loaded as it is to be.
    import torch

    torch.set_num_threads(number)


def _is_lost_device(error: Exception) -> bool:
    import torch

    # A GPU does not come back to the process that had the error.
    return isinstance(error, torch.AcceleratorError)
