"""How many of a replica's requests were late, for whoever decides on the number of replicas.

Counts of replicas can be added, which their quantiles cannot: of all requests the 99th percentile
is above a limit exactly where more than one of a hundred is.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from aiplat.serving.config import ServingConfig

# What a report calls its counts.
REQUESTS, CLOSE, LATE, WAITED = "requests", "close", "late", "waited"
# The report is of so many seconds.
WINDOW_S = 30
# Of the limit: above it a request was close to being late.
_CLOSE = 0.8


@dataclass
class _Second:
    at: int
    requests: int = 0
    close: int = 0
    late: int = 0
    waited: int = 0


class Lateness:
    """Counts the requests of the last seconds, in one thread. limit_s: longer is late."""

    def __init__(self, limit_s: float, now: Callable[[], float] = time.monotonic) -> None:
        self._limit_s, self._now = limit_s, now
        self._seconds: deque[_Second] = deque()

    @classmethod
    def of(cls, config: ServingConfig) -> "Lateness | None":
        """By the limit of a configuration; None where it has none."""
        limit_ms = config.autoscaling.slo_p99_ms
        return None if limit_ms is None else cls(limit_ms / 1000)

    def answered(self, took_s: float, queue_s: float) -> None:
        """A request has its answer. queue_s: how long of that it waited for a pass."""
        second = self._current()
        second.requests += 1
        second.close += took_s > _CLOSE * self._limit_s
        second.late += took_s > self._limit_s
        # More replicas help only those that would else have been in time.
        second.waited += took_s > self._limit_s >= took_s - queue_s

    def refused(self) -> None:
        """A request found too many waiting."""
        second = self._current()
        second.requests += 1
        second.close += 1
        second.late += 1
        second.waited += 1

    def report(self) -> dict[str, float]:
        """Requests, those close to being late, late ones, and the late ones whom waiting made so.

        A late request counts as a close one as well.
        """
        self._forget(int(self._now()))
        return {
            REQUESTS: sum(second.requests for second in self._seconds),
            CLOSE: sum(second.close for second in self._seconds),
            LATE: sum(second.late for second in self._seconds),
            WAITED: sum(second.waited for second in self._seconds),
        }

    def _current(self) -> _Second:
        at = int(self._now())
        if not self._seconds or self._seconds[-1].at != at:
            self._forget(at)
            self._seconds.append(_Second(at))
        return self._seconds[-1]

    def _forget(self, at: int) -> None:
        while self._seconds and self._seconds[0].at <= at - WINDOW_S:
            self._seconds.popleft()
