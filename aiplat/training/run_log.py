"""Writing the log of a run: every event of all its ranks, as lines of JSON in the run's folder.

It outlives the cluster and the process that wrote it. It knows nothing of how events get here.
"""

import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from aiplat.store import files
from aiplat.training.logs import FOLDER, PULSE, SUFFIX, Event, parsed, read_segment, segment_sizes

_PUBLISH_S = 0.5
_BEAT_S = 2.0
_WARN_EVERY_S = 60.0
_LONGEST_TEXT = 1 << 16


@dataclass(frozen=True)
class LogLimits:
    """How large a log may become.

    The first segment tells how the run began and stays; the oldest of the others make room.
    """

    segment_bytes: int
    max_segments: int


_LOCAL = LogLimits(segment_bytes=16 << 20, max_segments=16)
# An object cannot grow: it is sent anew with each change, and had better be small.
_REMOTE = LogLimits(segment_bytes=1 << 20, max_segments=256)


class RunLog:
    """Appends a run's events to its log, from when the block begins until it ends.

    A process that is killed loses nothing that came more than two seconds before. A log that cannot
    be written is warned of and does not end the run.
    """

    def __init__(self, run_dir: str, limits: LogLimits | None = None) -> None:
        self.folder = files.join(files.absolute(run_dir), FOLDER)
        self.is_remote = files.is_remote(self.folder)
        self.limits = limits or (_REMOTE if self.is_remote else _LOCAL)
        self.names = sorted(segment_sizes(self.folder))
        self.attempt = _last_attempt(self.folder, self.names)
        self.attempts: dict[str, int] = {}
        self.quiet_until = self.beat_at = 0.0
        # The publishing thread and the one that brings events both write.
        self.lock = threading.Lock()
        self.closed = threading.Event()
        self.segment: _Segment | None = None
        self.publisher = threading.Thread(target=self._publish_often, name="run-log", daemon=True)

    def __enter__(self) -> "RunLog":
        self._guarded(self._beat)
        self.add({"kind": "begin", "host": socket.gethostname(), "pid": os.getpid()})
        self.publisher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: Any
    ) -> None:
        self.add({"kind": "end", **_ending(error)})
        self.closed.set()
        self.publisher.join()
        if self.segment is not None:
            self.segment.close()
        with suppress(OSError):
            files.remove_file(files.join(self.folder, PULSE))

    def add(self, event: Mapping[str, Any]) -> None:
        """Append an event; what its sender did not tell of time, rank and attempt is filled in."""
        with self.lock:
            line = _line(event, self._attempt_of(event))
            self._guarded(lambda: self._writable().add(line))

    def _attempt_of(self, event: Mapping[str, Any]) -> int:
        """Each group of workers that reports is an attempt; its late events remain its own."""
        group = event.get("group")
        if group is None:
            return self.attempt
        if group not in self.attempts:
            self.attempt += 1
            self.attempts[group] = self.attempt
        return self.attempts[group]

    def _writable(self) -> "_Segment":
        """The segment to append to: another one where the last is full."""
        if self.segment is not None and self.segment.size < self.limits.segment_bytes:
            return self.segment
        if self.segment is not None:
            self.segment.publish()
            self.segment.close()
            self.segment = None
        number = int(self.names[-1].removesuffix(SUFFIX)) + 1 if self.names else 1
        name = f"{number:06}{SUFFIX}"
        uri = files.join(self.folder, name)
        segment: _Segment = _ObjectSegment(uri) if self.is_remote else _FileSegment(uri)
        self.segment = segment
        self.names.append(name)
        while len(self.names) > max(self.limits.max_segments, 2):
            files.remove_file(files.join(self.folder, self.names.pop(1)))
        return segment

    def _publish_often(self) -> None:
        last = False
        while not last:
            last = self.closed.wait(_PUBLISH_S)
            self._guarded(self._publish)

    def _publish(self) -> None:
        with self.lock:
            if self.segment is not None:
                self.segment.publish()
        if time.monotonic() - self.beat_at > _BEAT_S:
            self._beat()

    def _beat(self) -> None:
        """Show those who follow the log that its writer is there."""
        self.beat_at = time.monotonic()
        files.write_bytes(files.join(self.folder, PULSE), str(time.time()).encode())

    def _guarded(self, action: Callable[[], None]) -> None:
        try:
            action()
        except OSError as error:
            self._warn(error)

    def _warn(self, error: OSError) -> None:
        if time.monotonic() < self.quiet_until:
            return
        self.quiet_until = time.monotonic() + _WARN_EVERY_S
        logging.getLogger(__name__).warning(
            "the run's log in %s cannot be written: %s; the run goes on, what it tells meanwhile "
            "will be missing there",
            self.folder,
            error,
        )


class _Segment(Protocol):
    @property
    def size(self) -> int: ...

    def add(self, line: bytes) -> None: ...

    def publish(self) -> None: ...

    def close(self) -> None: ...


class _FileSegment:
    """A file that grows: a line is the kernel's as soon as it is added."""

    def __init__(self, uri: str) -> None:
        path = Path(uri)
        path.parent.mkdir(parents=True, exist_ok=True)
        # A run has one writer; that a second one appends is better than that it destroys.
        self.file = path.open("ab", buffering=0)
        self.size = 0
        self.is_torn = False
        self.is_published = True

    def add(self, line: bytes) -> None:
        data = b"\n" + line if self.is_torn else line
        self.is_torn = True
        written = self.file.write(data)
        self.size += written or 0
        self.is_torn = written != len(data)
        self.is_published = False

    def publish(self) -> None:
        """Show readers on other machines what is there: theirs is what reached the file server."""
        if not self.is_published:
            os.fsync(self.file.fileno())
            self.is_published = True

    def close(self) -> None:
        self.file.close()


class _ObjectSegment:
    """An object of a store: written anew, whole, whenever it is published."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.content = bytearray()
        self.num_published = 0

    @property
    def size(self) -> int:
        return len(self.content)

    def add(self, line: bytes) -> None:
        self.content += line

    def publish(self) -> None:
        if len(self.content) > self.num_published:
            files.write_bytes(self.uri, bytes(self.content))
            self.num_published = len(self.content)

    def close(self) -> None:
        """Nothing is held open."""


def _line(event: Mapping[str, Any], attempt: int) -> bytes:
    text = event.get("text")
    if isinstance(text, str) and len(text) > _LONGEST_TEXT:
        event = {**event, "text": f"{text[:_LONGEST_TEXT]} (cut)"}
    at = event.get("at", time.time())
    envelope = {
        "at": round(at, 3),
        "kind": event["kind"],
        "rank": event.get("rank"),
        "attempt": attempt,
    }
    rest = {name: value for name, value in event.items() if name not in (*envelope, "group")}
    line = json.dumps({**envelope, **rest}, ensure_ascii=False, separators=(",", ":"), default=str)
    # Lone surrogates (a path's odd bytes) have no UTF-8.
    return line.encode(errors="backslashreplace") + b"\n"


def _ending(error: BaseException | None) -> Event:
    if error is None:
        return {"status": "finished"}
    if isinstance(error, KeyboardInterrupt):
        return {"status": "stopped"}
    return {"status": "failed", "text": f"{type(error).__name__}: {error}"}


def _last_attempt(folder: str, names: list[str]) -> int:
    """The number of the last attempt that the log tells of; 0 where there was none."""
    for name in reversed(names):
        lines = read_segment(files.join(folder, name), 0).splitlines()
        attempts = [event.get("attempt") or 0 for event in parsed(lines)]
        if attempts:
            return int(max(attempts))
    return 0
