"""A process's part in the bookkeeping: it keeps lines at once, and brings them home in a thread."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from aiplat.serving.metering.ledger import (
    Ledger,
    comparison_line,
    replica_line,
    usage_line,
)
from aiplat.serving.metering.replica_time import ReplicaClock
from aiplat.serving.metering.spool import Spool, SpoolError, bring_home
from aiplat.serving.metering.usage import UsageRecord
from aiplat.serving.releases.comparison import Comparison
from aiplat.store import files
from aiplat.store.records import open_records, records_url

logger = logging.getLogger(__name__)

_FLUSH_S = 1.0
_CLOCK_S = 0.25
_ORPHANS_S = 10.0


@dataclass(frozen=True)
class BooksPlace:
    """Where a process keeps its books.

    folder: on local disk, of lines that are under way. records: the database's URL.
    """

    folder: str
    records: str

    def open_ledger(self, create: bool = True) -> Ledger:
        """The usage of the database. create: whether an SQLite file may be made."""
        return Ledger(open_records(self.records, create))

    def open(self, clock: ReplicaClock | None = None) -> "Books":
        """The books of this process. clock: where it is a replica."""
        # A file that is not there is one of another machine: nobody would read an empty one.
        return Books(Path(self.folder), lambda: self.open_ledger(create=False), clock)


def books_place(storage: str, records: str | None) -> BooksPlace:
    """Where the books of `storage` are. records: the database's URL, null: the one in `storage`.

    Raises ConfigError where there can be no such database.
    """
    at_hand = Path.home() / ".aiplat" if files.is_remote(storage) else files.absolute(storage)
    return BooksPlace(str(Path(at_hand, "spool")), records_url(storage, records))


class Books:
    """Takes down usage records, and a replica's time where there is a clock.

    open_ledger: reaches the database; called in the thread, again after every failure.
    """

    def __init__(
        self,
        folder: Path,
        open_ledger: Callable[[], Ledger],
        clock: ReplicaClock | None = None,
        flush_s: float = _FLUSH_S,
    ) -> None:
        self.folder, self.clock = folder, clock
        self._open_ledger, self._flush_s = open_ledger, flush_s
        self._spool = Spool(folder)
        self._ledger: Ledger | None = None
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._bring, name="books", daemon=True)]
        if clock is not None:
            self._threads.append(threading.Thread(target=self._tick, name="clock", daemon=True))
        for thread in self._threads:
            thread.start()

    def record(self, record: UsageRecord) -> None:
        """Take down a request; it outlives this process from here on. Raises SpoolError."""
        self._spool.append(usage_line(record))

    def note(self, comparison: Comparison) -> None:
        """Take down what two versions answered to one request. No answer waits for it."""
        try:
            self._spool.append(comparison_line(comparison))
        except SpoolError as error:
            logger.warning("a comparison is not taken down: %s", error)

    def close(self) -> None:
        """Bring home what is left, as far as the database answers."""
        self._ended.set()
        for thread in self._threads:
            thread.join()
        self._note_time()
        self._flush(with_orphans=False)
        self._spool.close()
        if self._ledger is not None:
            self._ledger.close()

    def _tick(self) -> None:
        while not self._ended.wait(_CLOCK_S):
            self._note_time()

    def _note_time(self) -> None:
        if self.clock is None:
            return
        try:
            for minute in self.clock.read():
                self._spool.append(replica_line(minute))
        except Exception:
            logger.exception("the time of replica %s cannot be taken down", self.clock.replica)

    def _bring(self) -> None:
        looked_at = 0.0
        while not self._ended.wait(self._flush_s):
            is_time = time.monotonic() - looked_at >= _ORPHANS_S
            if self._flush(with_orphans=is_time) and is_time:
                looked_at = time.monotonic()

    def _flush(self, with_orphans: bool) -> bool:
        try:
            if self._ledger is None:
                self._ledger = self._open_ledger()
            self._spool.hand_over(self._ledger.take)
            if with_orphans:
                bring_home(self.folder, self._ledger.take)
        except Exception as error:
            # What waits is on disk, and the database may come back.
            logger.warning("usage cannot be brought to the database, will try again: %s", error)
            self._ledger = None
            return False
        return True


def settle(folder: str, ledger: Ledger) -> int:
    """Bring home what ended processes left behind. Returns how many lines there were."""
    return bring_home(Path(folder), ledger.take)
