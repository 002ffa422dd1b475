"""Reading the log of a run: what all its ranks told, in time order, while it runs and afterwards.

Knows nothing of how events look on a console, and imports nothing heavy: a search must not wait.
"""

import heapq
import json
import math
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from aiplat.store import files

Event = dict[str, Any]

FOLDER = "logs"
# The writer's sign of life.
PULSE = "alive"
SUFFIX = ".jsonl"

_POLL_S = 0.5
# A writer that shows no sign of life for so long is gone.
_GONE_S = 15.0
# How far a line may stand from its place in time; ranks send within moments of each other.
_WINDOW_LINES = 10_000


def read_events(run_dir: str) -> Iterator[Event]:
    """The events of a run so far, in the order of the senders' clocks.

    Lines that a dying writer left half are skipped. Nothing where the run has no log.
    """
    return in_time_order(parsed(LogReader(run_dir).lines()))


def follow_events(run_dir: str) -> Iterator[Event]:
    """The events of a run so far and those that come, within two seconds, until the run ends.

    Where its driver died without a word, a last event of kind `end` and status `lost` says so.
    """
    reader, pulse, order, last = LogReader(run_dir), _Pulse(run_dir), _Order(), ""
    is_alive = True
    while is_alive:
        # Asked before reading: what is told before the end is then read.
        is_alive = pulse.is_alive()
        for event in parsed(reader.lines()):
            last = event["kind"]
            yield from order.put(event)
        yield from order.settled() if is_alive else order.rest()
        if is_alive:
            time.sleep(_POLL_S)
    if last != "end":
        text = "the process that trained the run is gone; start the run again to go on with it"
        yield {"at": time.time(), "kind": "end", "rank": None, "status": "lost", "text": text}


class LogReader:
    """Reads the lines of a run's log; each only once, so it can be asked again for newer ones."""

    def __init__(self, run_dir: str) -> None:
        self.folder = files.join(files.absolute(run_dir), FOLDER)
        self.consumed: dict[str, int] = {}

    @property
    def is_empty(self) -> bool:
        """Whether nobody has written to the log, and nobody is about to."""
        return not segment_sizes(self.folder) and not read_segment(files.join(self.folder, PULSE))

    def lines(self) -> Iterator[bytes]:
        """The complete lines that were not read yet, in the order in which they were written."""
        for name, size in sorted(segment_sizes(self.folder).items()):
            begin = self.consumed.get(name, 0)
            if size <= begin:
                continue
            data = read_segment(files.join(self.folder, name), begin)
            # What follows the last newline is still being written, or never will be.
            whole = data[: data.rfind(b"\n") + 1]
            self.consumed[name] = begin + len(whole)
            yield from whole.splitlines()


def parsed(lines: Iterable[bytes]) -> Iterator[Event]:
    """The events that lines hold; lines that hold none are left out."""
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and "at" in event and "kind" in event:
            yield event


def in_time_order(events: Iterable[Event]) -> Iterator[Event]:
    """Put events that arrived a little late where they belong."""
    order = _Order()
    for event in events:
        yield from order.put(event)
    yield from order.rest()


class _Order:
    """Holds events back until none that belongs before them can be expected."""

    def __init__(self) -> None:
        self.waiting: list[tuple[float, int, Event]] = []
        self.num_put = 0
        self.newest = self.settled_at = -math.inf

    def put(self, event: Event) -> Iterator[Event]:
        """Take an event; where too many are held, the first is given back."""
        at = event["at"]
        self.num_put += 1
        self.newest = max(self.newest, at)
        heapq.heappush(self.waiting, (at, self.num_put, event))
        if len(self.waiting) > _WINDOW_LINES:
            yield heapq.heappop(self.waiting)[2]

    def settled(self) -> Iterator[Event]:
        """What is no newer than the newest there was when this was last asked."""
        while self.waiting and self.waiting[0][0] <= self.settled_at:
            yield heapq.heappop(self.waiting)[2]
        self.settled_at = self.newest

    def rest(self) -> Iterator[Event]:
        """All that is left."""
        while self.waiting:
            yield heapq.heappop(self.waiting)[2]


class _Pulse:
    """Whether the writer of a log is there; what counts is change, for clocks may differ."""

    def __init__(self, run_dir: str) -> None:
        self.uri = files.join(files.absolute(run_dir), FOLDER, PULSE)
        self.last = b""
        self.changed_at = 0.0

    def is_alive(self) -> bool:
        beat = read_segment(self.uri, 0)
        if beat != self.last:
            self.last, self.changed_at = beat, time.monotonic()
        return bool(beat) and time.monotonic() - self.changed_at < _GONE_S


def segment_sizes(folder: str) -> dict[str, int]:
    """Size in bytes of each segment of a log, by name."""
    if files.is_remote(folder):
        return {name: size for name, size in files.sizes(folder).items() if name.endswith(SUFFIX)}
    # Not by way of pyarrow: importing it takes as long as reading the log.
    if not Path(folder).is_dir():
        return {}
    with os.scandir(folder) as entries:
        return {item.name: item.stat().st_size for item in entries if item.name.endswith(SUFFIX)}


def read_segment(uri: str, begin: int = 0) -> bytes:
    """A file of a log from an offset on; nothing where it is gone."""
    try:
        if files.is_remote(uri):
            return files.read_bytes(uri)[begin:]
        with Path(uri).open("rb") as file:
            file.seek(begin)
            return file.read()
    except FileNotFoundError:
        return b""
