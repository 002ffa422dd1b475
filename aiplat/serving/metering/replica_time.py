"""How long a replica is there, for how much of it its model runs, and for how much in vain."""

import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class ReplicaMinute:
    """A replica in one minute. minute: since 1970. alive_s: it was there. busy_s: its model ran.

    unclaimed_s: of passes whose outcome nobody took, in the minutes up to when that was known.
    """

    replica: str
    minute: int
    endpoint: str
    version: str
    alive_s: float = 0.0
    busy_s: float = 0.0
    unclaimed_s: float = 0.0


class ReplicaClock:
    """Keeps a replica's time, minute by minute; from any thread.

    A pass of the model counts as busy, and nothing else: rows are decoded beside it.
    """

    def __init__(self, endpoint: str, version: str, now: Callable[[], float] = time.time) -> None:
        self.replica = uuid.uuid4().hex
        self._blank = ReplicaMinute(self.replica, 0, endpoint, version)
        self._now = now
        self._seen_until = now()
        self._minutes: dict[int, ReplicaMinute] = {}
        self._changed: set[int] = set()
        self._lock = threading.Lock()

    def ran(self, seconds: float) -> None:
        """A pass of the model ended just now that took so long."""
        self._note("busy_s", seconds)

    def unclaimed(self, seconds: float) -> None:
        """So long passes ran, of those told of, for a request that left or failed."""
        self._note("unclaimed_s", seconds)

    def read(self) -> list[ReplicaMinute]:
        """The minutes that changed since the last call, as they stand now."""
        end = self._now()
        with self._lock:
            # A clock that is set back must not take back what was.
            self._add("alive_s", self._seen_until, end)
            self._seen_until = end
            changed = [self._minutes[minute] for minute in sorted(self._changed)]
            self._changed.clear()
            current = int(end // 60)
            self._minutes = {
                minute: each for minute, each in self._minutes.items() if minute >= current - 1
            }
        return changed

    def _note(self, name: str, seconds: float) -> None:
        end = self._now()
        with self._lock:
            self._add(name, end - seconds, end)

    def _add(self, name: str, start: float, end: float) -> None:
        while start < end:
            minute = int(start // 60)
            until = min(end, (minute + 1) * 60.0)
            known = self._minutes.get(minute) or replace(self._blank, minute=minute)
            self._minutes[minute] = replace(known, **{name: getattr(known, name) + until - start})
            self._changed.add(minute)
            start = until
