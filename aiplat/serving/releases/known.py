"""The releases as one replica of the endpoint knows them, and the way of its requests."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Self

from starlette.requests import Request

from aiplat.serving.config import ServingConfig
from aiplat.serving.keys.addresses import client_address
from aiplat.serving.metering.usage import UsageRecord
from aiplat.serving.releases.comparison import Comparison
from aiplat.serving.releases.mirror import Mirror
from aiplat.serving.releases.release import LOOK_S, PATIENCE_S, Release
from aiplat.serving.releases.routing import Routed
from aiplat.serving.releases.split import Canary, Timed, compare
from aiplat.serving.served import Answers, Row, ServedModel

logger = logging.getLogger(__name__)

_OPEN_S = 2.0


@dataclass
class _Watched:
    """A running release. beat_at: when its heartbeat was last seen to change."""

    release: Release
    beat_at: float = field(default=float("-inf"))
    candidate: ServedModel | None = None

    def take(self, release: Release, now: float) -> None:
        if release.heartbeat != self.release.heartbeat:
            self.beat_at = now
        self.release = release


class KnownReleases:
    """Running releases, read every second while the block runs; one event loop's own.

    read: the running releases; may block. open_candidate: something to ask; raises where there is
    none. note, counted: see `Mirror`. ticks: seconds of a clock that is never set.

    A release counts as long as its heartbeat is seen to change: clocks of machines differ, and a
    canary that nobody watches, or whose end we would not hear of, is none.
    """

    def __init__(
        self,
        config: ServingConfig,
        read: Callable[[], Sequence[Release]],
        open_candidate: Callable[[Release], Awaitable[ServedModel]],
        note: Callable[[Comparison], None],
        counted: Callable[[str], None] = lambda _: None,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read, self._open, self._note, self._ticks = read, open_candidate, note, ticks
        self._trusted = config.trusted_networks
        # What is left of the time is the champion's.
        self._patience_s = config.request_timeout_s / 2
        self._mirror = Mirror(note, counted)
        # Its own, so that nothing else in the process can keep a rollback waiting.
        self._thread = ThreadPoolExecutor(1, "releases")
        self._watched: dict[str, _Watched] = {}
        self._is_failing = False
        self._work: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._work = asyncio.create_task(self._keep())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._work is not None:
            self._work.cancel()
            await asyncio.wait([self._work])
        await self._mirror.close()
        self._thread.shutdown(wait=False)

    async def look(self) -> None:
        """Read the running releases once."""
        loop = asyncio.get_running_loop()
        read = await loop.run_in_executor(self._thread, self._read)
        running = {release.endpoint: release for release in read}
        for endpoint in self._watched.keys() - running.keys():
            del self._watched[endpoint]
        for endpoint, release in running.items():
            known = self._watched.get(endpoint)
            if known is None or known.release.id != release.id:
                known = self._watched[endpoint] = _Watched(release)
            known.take(release, self._ticks())
            # Before there are shares there may be no replica either.
            if known.candidate is None and (release.weight or release.mirror):
                known.candidate = await self._opened(release)

    def route(self, request: Request, model: ServedModel, record: UsageRecord) -> Routed:
        """See `Router`."""
        known = self._watched.get(model.info.name)
        if known is None or known.candidate is None or not self._counts(known, model):
            return Routed(model)
        release, candidate = known.release, known.candidate
        canary = None
        if release.gives(self._asker(release, request, record)):
            canary = Canary(release, model, candidate, record, self._note, self._patience_s)
        if not release.mirrors(record.prediction_id):
            return Routed(canary or model)
        first = Timed(canary or model)
        other = model if canary else candidate

        async def answered(rows: Sequence[Row], answers: Answers) -> None:
            if canary is None or not canary.fell_back:
                asked = (record.prediction_id, rows, answers, first.seconds)
                self._mirror.offer(lambda: compare(release, asked, other, self._patience_s))

        return Routed(first, answered)

    async def _opened(self, release: Release) -> ServedModel | None:
        try:
            return await asyncio.wait_for(self._open(release), _OPEN_S)
        except Exception as error:
            cause = error or type(error).__name__
            logger.warning("the candidate of release %s cannot be asked: %s", release.id, cause)
            return None

    def _counts(self, known: _Watched, model: ServedModel) -> bool:
        is_watched = self._ticks() - known.beat_at <= PATIENCE_S
        # Once the endpoint was given another version, this one takes over from nobody.
        return is_watched and known.release.champion == model.info.version

    def _asker(self, release: Release, request: Request, record: UsageRecord) -> str:
        """Who is always answered by one version."""
        if release.sticky != "key":
            return record.prediction_id
        if record.key:
            return record.key
        forwarded = request.headers.getlist("x-forwarded-for")
        address = client_address(request.scope.get("client"), forwarded, self._trusted)
        return str(address) if address else record.prediction_id

    async def _keep(self) -> None:
        while True:
            try:
                await self.look()
            except Exception as error:
                # Told once; what is not heard of any more ends by itself.
                if not self._is_failing:
                    logger.warning("releases cannot be read: %s", error or type(error).__name__)
                self._is_failing = True
            else:
                self._is_failing = False
            await asyncio.sleep(LOOK_S)
