"""The keys as one replica knows them: read beside the requests, never while one waits for it."""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Self

from aiplat.serving.keys import times
from aiplat.serving.keys.key import ApiKey
from aiplat.serving.keys.store import KeyStore, Snapshot

logger = logging.getLogger(__name__)

# A revocation holds in every replica after this and the time that reading takes.
REFRESH_S = 2.0
# A key that is not known may be a new one: it is looked for so soon, and by so many requests at
# once; what nobody made cannot be asked for to keep the database busy.
_SOONEST_S = 0.25
_MAX_WAITING = 64
_PATIENCE_S = 1.0
_COUNT_REPLICAS_S = 5.0


async def _alone() -> int:
    return 1


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)


class KnownKeys:
    """Keys and quotas, read every two seconds while the block runs; one event loop's own.

    count_replicas: says how many replicas share the limits of a key, now and then.
    clock: seconds since 1970. ticks: seconds of a clock that is never set.
    """

    def __init__(
        self,
        store: KeyStore,
        count_replicas: Callable[[], Awaitable[int]] = _alone,
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self.num_replicas = 1
        self.is_failing = False
        self._store = store
        self._ask_replicas = count_replicas
        self._clock, self._ticks = clock, ticks
        self._snapshot = Snapshot({}, {}, "")
        self._read_at = float("-inf")
        self._counts: Counter[tuple[str, str]] = Counter()
        self._sent: Counter[tuple[str, str]] = Counter()
        # Its own, so that nothing else in the process can keep revocations waiting.
        self._thread = ThreadPoolExecutor(1, "keys")
        self._asked = asyncio.Event()
        self._waiting: list[asyncio.Future[None]] = []
        self._work: list[asyncio.Task[None]] = []
        self._closing = asyncio.Event()

    async def refresh(self) -> None:
        """Read the keys, and write down what was counted. Raises RecordsError."""
        loop, began = asyncio.get_running_loop(), self._ticks()
        sent, self._counts = self._counts, Counter()
        self._sent += sent
        try:
            self._snapshot = await loop.run_in_executor(
                self._thread, self._store.exchange, dict(sent)
            )
        except Exception:
            self.is_failing = True
            self._counts += sent
            raise
        finally:
            self._sent -= sent
        self._read_at = began
        self.is_failing = False

    async def __aenter__(self) -> Self:
        self._work = [asyncio.create_task(work) for work in (self._keep(), self._keep_counting())]
        return self

    async def __aexit__(self, *_: object) -> None:
        # Not cancelled: what is being written would be counted twice.
        self._closing.set()
        self._asked.set()
        reading, counting = self._work
        counting.cancel()
        await asyncio.wait([reading, counting])
        if self._counts:
            await self._try_to_refresh()
        self._thread.shutdown(wait=False)

    @property
    def age_s(self) -> float:
        """How long ago the keys were read."""
        return self._ticks() - self._read_at

    def find(self, prefix: str) -> ApiKey | None:
        """The key of that prefix, revoked and expired ones too."""
        return self._snapshot.keys.get(prefix)

    def used(self, key_id: str) -> int:
        """Requests of this month, those of other replicas as of the last reading."""
        month = times.month(self._clock())
        known = self._snapshot.used.get(key_id, 0) if self._snapshot.month == month else 0
        return known + self._sent[key_id, month] + self._counts[key_id, month]

    def count(self, key_id: str) -> None:
        """Add a request to what the key used of its quota."""
        self._counts[key_id, times.month(self._clock())] += 1

    async def renewed(self) -> None:
        """Return once the keys were read anew, or could not be for a second."""
        if not self._work or self._closing.is_set() or len(self._waiting) >= _MAX_WAITING:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self._asked.set()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(future, _PATIENCE_S)

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._closing.is_set():
            began = loop.time()
            waiting, self._waiting = self._waiting, []
            self._asked.clear()
            await self._try_to_refresh()
            for future in waiting:
                if not future.done():
                    future.set_result(None)
            await _wait(self._closing, _SOONEST_S)
            await _wait(self._asked, began + REFRESH_S - loop.time())

    async def _try_to_refresh(self) -> None:
        was_failing = self.is_failing
        try:
            await self.refresh()
        except Exception as error:
            # Told once; requests are told when what is known becomes too old.
            if not was_failing:
                logger.warning("keys cannot be read, those known are used on: %s", error)
        else:
            if was_failing:
                logger.warning("keys can be read again")

    async def _keep_counting(self) -> None:
        while True:
            try:
                self.num_replicas = max(1, await self._ask_replicas())
            except Exception as error:
                # The number of before is nearer than any other; it is no reason to refuse.
                logger.warning("replicas cannot be counted, %s taken: %s", self.num_replicas, error)
            await asyncio.sleep(_COUNT_REPLICAS_S)
