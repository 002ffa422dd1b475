"""Requests that both versions of a release are asked with, beside the answers of users."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from aiplat.serving.releases.comparison import Comparison

logger = logging.getLogger(__name__)

COMPARED, FAILED, DROPPED = "compared", "failed", "dropped"


class Mirror:
    """Compares a few requests at a time, and lets go of those that come meanwhile.

    note: keeps a comparison. counted: told what became of each request: `compared`; `failed`, the
    candidate had no answer; `dropped`, there was no room, or the champion, asked second, had none.
    """

    def __init__(
        self,
        note: Callable[[Comparison], None],
        counted: Callable[[str], None] = lambda _: None,
        max_ongoing: int = 4,
    ) -> None:
        self._note, self._counted = note, counted
        self._max_ongoing = max_ongoing
        self._ongoing: set[asyncio.Task[None]] = set()

    def offer(self, compare: Callable[[], Awaitable[Comparison]]) -> None:
        """Compare where there is room for it; returns at once."""
        if len(self._ongoing) >= self._max_ongoing:
            self._counted(DROPPED)
            return
        task = asyncio.create_task(self._run(compare))
        self._ongoing.add(task)
        task.add_done_callback(self._ongoing.discard)

    async def close(self) -> None:
        """Let go of what is under way."""
        for task in self._ongoing:
            task.cancel()
        await asyncio.gather(*self._ongoing, return_exceptions=True)

    async def _run(self, compare: Callable[[], Awaitable[Comparison]]) -> None:
        try:
            comparison = await compare()
            self._note(comparison)
        except Exception as error:
            logger.info("a request was not compared: %s", error)
            self._counted(DROPPED)
        else:
            self._counted(FAILED if comparison.error else COMPARED)
