"""Join what several callers ask into batches, gathering while the batch before is being answered.

Ray Serve's own `serve.batch` closes a batch before the model is free to take it: a model that needs
0.1 s for a batch of any size, asked 100 times a second, was given 100 batches of one.
"""

import asyncio
import contextlib
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


# How much the latest pause between two callers counts in what is expected of the next one.
_WEIGHT = 0.2
# Of a longer pause nothing more can be learned: whoever comes then comes alone.
_LONGEST_S = 1.0


@dataclass(frozen=True)
class _Entry(Generic[Item]):
    """An item that waits. num_left: items of its caller from this one on."""

    item: Item
    came_at: float
    num_left: int


class Batcher(Generic[Item, Outcome]):
    """Answers items together, one batch at a time.

    answer: gives one outcome for each item, in their order.
    wait_s: how long the first item of a batch waits for others, from when it came. It waits only
        where callers come so often that another one is expected meanwhile.
    lost: told each outcome that nobody was given, since its caller left or another item of it
        failed.
    batch_size: how many of those that wait to take, given the seconds after which another one is
        expected. The items of a caller stay together as far as `max_batch_size` lets them.
    """

    def __init__(
        self,
        answer: Callable[[list[Item]], Awaitable[Sequence[Outcome]]],
        max_batch_size: int,
        wait_s: float,
        lost: Callable[[Outcome], None] = lambda _: None,
        batch_size: Callable[[int, float], int] = lambda waiting, _: waiting,
    ) -> None:
        self._answer, self._lost, self._batch_size = answer, lost, batch_size
        self._max_batch_size = max_batch_size
        self._wait_s = wait_s
        # The first first.
        self._waiting: OrderedDict[asyncio.Future[Outcome], _Entry[Item]] = OrderedDict()
        self._enough = asyncio.Event()
        self._work: asyncio.Task[None] | None = None
        self._pause_s, self._came_at = 0.0, math.inf

    async def ask(self, items: Sequence[Item]) -> list[Outcome]:
        """The outcomes of one caller's items, once batches with them were answered.

        A caller that is cancelled takes along those of its items that are in no batch yet.
        """
        now = asyncio.get_running_loop().time()
        # The first caller has nobody before it.
        pause_s = min(max(now - self._came_at, 0), _LONGEST_S)
        self._pause_s += _WEIGHT * (pause_s - self._pause_s)
        self._came_at = now
        asked = [
            self._enter(_Entry(item, now, len(items) - index)) for index, item in enumerate(items)
        ]
        try:
            return [await future for future in asked]
        except BaseException:
            for future in asked:
                self._leave(future)
            raise

    def _enter(self, entry: "_Entry[Item]") -> asyncio.Future[Outcome]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Outcome] = loop.create_future()
        self._waiting[future] = entry
        if len(self._waiting) >= self._max_batch_size:
            self._enough.set()
        if self._work is None or self._work.done():
            self._work = loop.create_task(self._answer_all())
        return future

    def _leave(self, future: asyncio.Future[Outcome]) -> None:
        # It would hold a place in a batch.
        self._waiting.pop(future, None)
        if not future.cancel() and not future.cancelled() and future.exception() is None:
            self._lost(future.result())

    async def _answer_all(self) -> None:
        while self._waiting:
            await self._gather()
            await self._answer_one_batch()

    async def _gather(self) -> None:
        if len(self._waiting) >= self._max_batch_size or self._pause_s > self._wait_s:
            return
        self._enough.clear()
        first = next(iter(self._waiting.values()))
        left_s = first.came_at + self._wait_s - asyncio.get_running_loop().time()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._enough.wait(), max(left_s, 0))

    async def _answer_one_batch(self) -> None:
        batch = self._take()
        if not batch:
            return
        try:
            outcomes = await self._answer([item for item, _ in batch])
            settled = list(zip(batch, outcomes, strict=True))
        except Exception as error:
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), outcome in settled:
            if future.done():
                self._lost(outcome)
            else:
                future.set_result(outcome)

    def _take(self) -> list[tuple[Item, asyncio.Future[Outcome]]]:
        batch: list[tuple[Item, asyncio.Future[Outcome]]] = []
        wanted = self._wanted()
        while self._waiting and len(batch) < wanted:
            future, entry = self._waiting.popitem(last=False)
            # Whoever asked may have been told to go just now.
            if not future.done():
                batch.append((entry.item, future))
        return batch

    def _wanted(self) -> int:
        if not self._waiting:
            return 0
        # A caller has nothing of some of its items: as many as the first one has here.
        together = next(iter(self._waiting.values())).num_left
        size = self._batch_size(len(self._waiting), self._pause_s / together)
        return min(max(size, together), self._max_batch_size)
