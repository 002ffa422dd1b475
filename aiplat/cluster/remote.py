"""A model whose replicas are other processes of the cluster, as an endpoint asks it."""

import asyncio
import logging
from collections.abc import Sequence

from ray import serve
from ray.exceptions import RayActorError
from ray.serve.exceptions import (
    BackPressureError,
    DeploymentUnavailableError,
    ReplicaUnavailableError,
)
from ray.serve.handle import DeploymentHandle
from ray.serve.schema import DeploymentStatusOverview

from aiplat.serving.metering.usage import new_id
from aiplat.serving.served import Answers, Fault, ModelInfo, OverloadError, Row, RowsError

logger = logging.getLogger(__name__)

# What a replica sends back: raised, it would come with Ray's tracebacks around it.
Reply = Answers | dict[int, Fault] | OverloadError
# Without any replica, too: autoscaling starts one for the request that comes.
_ANSWERING = ("HEALTHY", "UPSCALING", "DOWNSCALING")
# So long a request waits before it is asked whether anybody can answer it.
_LOOK_S = 3.0
_TELL_S = 0.25


class RemoteModel:
    """A served model whose replicas answer through a Serve handle."""

    def __init__(self, info: ModelInfo, handle: DeploymentHandle) -> None:
        self.info = info
        self._handle = handle
        self._looked: asyncio.Future[DeploymentStatusOverview | None] | None = None
        self._left: list[str] = []
        self._telling: asyncio.Task[None] | None = None

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

    async def _ask(self, rows: list[Row]) -> Reply:
        try:
            return await self._answer_to(rows)
        except (RayActorError, ReplicaUnavailableError):
            # The replica died with the request; answering changes nothing, so another one may.
            return await self._answer_to(rows)

    async def _answer_to(self, rows: list[Row]) -> Reply:
        """What a replica says, as long as there can be one.

        Serve lets a request wait for ever whose deployment an update has removed.
        """
        request = new_id()
        asked = asyncio.ensure_future(_answer(self._handle, rows, request))
        try:
            while not (await asyncio.wait({asked}, timeout=_LOOK_S))[0]:
                if not await self._exists():
                    raise OverloadError(f"{self.info.name} is served by another process now")
            return asked.result()
        except BaseException:
            self._leave(request)
            raise
        finally:
            asked.cancel()

    def _leave(self, request: str) -> None:
        """Let replicas know that nobody takes the answer.

        One of them may have it already, and what a cancelled call gave is not to be had.
        """
        self._left.append(request)
        if self._telling is None or self._telling.done():
            self._telling = asyncio.create_task(self._tell())

    async def _tell(self) -> None:
        while self._left:
            # Many leave at once, and each word goes to all replicas.
            await asyncio.sleep(_TELL_S)
            left, self._left = self._left, []
            try:
                await self._handle.broadcast("left", left).results_async(timeout_s=_LOOK_S)
            except Exception as error:
                logger.warning(
                    "%s: what %d left behind is not told: %s", self.info.name, len(left), error
                )

    async def _exists(self) -> bool:
        """Whether the deployment is there; asked once for all that wait."""
        if self._looked is None or self._looked.done():
            self._looked = asyncio.ensure_future(asyncio.to_thread(self._status))
        return await asyncio.shield(self._looked) is not None

    async def ready(self) -> bool:
        """Whether a replica runs, or none is wanted until someone asks."""
        deployment = await asyncio.to_thread(self._status)
        if deployment is None:
            return False
        return deployment.status in _ANSWERING or deployment.replica_states.get("RUNNING", 0) > 0

    def _status(self) -> DeploymentStatusOverview | None:
        """The state of the model's deployment; None where there is none."""
        application = serve.status().applications.get(self._handle.deployment_id.app_name)
        return application and application.deployments.get(self._handle.deployment_id.name)


async def _answer(handle: DeploymentHandle, rows: list[Row], request: str) -> Reply:
    response = handle.predict.remote(rows, request)
    try:
        reply: Reply = await response
    except asyncio.CancelledError:
        # The client left or was told that it took too long. Serve lets the replica know of the one
        # and not of the other.
        response.cancel()
        raise
    return reply
