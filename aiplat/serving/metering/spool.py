"""Lines on local disk that are on their way to the database: a process that is killed loses none.

A process appends to a file of its own and holds a lock on it for as long as it lives. Whoever finds
a file whose lock is free brings its lines home in its place. That the database takes a line in once
is up to whoever takes it in: a line may be handed over twice.
"""

import fcntl
import json
import os
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from aiplat.errors import AiplatError

Line = dict[str, Any]

_SUFFIX = ".jsonl"
# A file that was handed over whole is let go at this size.
_ROTATE_BYTES = 4 * 1024 * 1024


class SpoolError(AiplatError):
    """The spool cannot take another line."""


class Spool:
    """The lines of this process; append from any thread.

    max_bytes: of lines that the database has not taken in yet.
    """

    def __init__(self, folder: Path, max_bytes: int = 1 << 30) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.max_bytes = folder, max_bytes
        self._lock = threading.Lock()
        self._files: list[_Own] = []
        self._begin_file()

    def append(self, line: Mapping[str, Any]) -> None:
        """Keep a line. Once this returns, it outlives the process. Raises SpoolError."""
        text = json.dumps(line, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            pending = sum(own.pending for own in self._files)
            if pending + len(text) > self.max_bytes:
                raise SpoolError(
                    f"{pending / 1e6:.0f} MB of usage records wait in {self.folder} for the "
                    "database: see why it does not take them"
                )
            try:
                self._files[-1].append(text)
            except OSError as error:
                raise SpoolError(f"cannot write to {self.folder}: {error}") from error
            if self._files[-1].size >= _ROTATE_BYTES:
                self._begin_file()

    def hand_over(self, take: Callable[[Sequence[Line]], None]) -> int:
        """Give `take` what it was not given yet; what it raises leaves the lines for next time.

        Returns how many there were. For one thread at a time.
        """
        count = 0
        with self._lock:
            files = list(self._files)
        for own in files:
            end, lines = own.read_on()
            if lines:
                take(lines)
            count += len(lines)
            with self._lock:
                own.handed_over = end
                if own is not self._files[-1] and own.pending == 0:
                    self._files.remove(own)
                    own.remove()
        return count

    def close(self) -> None:
        """Let go of the files; those with lines left are for others to bring home."""
        with self._lock:
            for own in self._files:
                if own.pending:
                    own.stream.close()
                else:
                    own.remove()
            self._files.clear()

    def _begin_file(self) -> None:
        path = self.folder / f"{uuid.uuid4().hex}{_SUFFIX}"
        # Under another name until it is locked: nobody must take it for one that was left.
        draft = path.with_suffix(".new")
        stream = draft.open("ab+", buffering=0)
        fcntl.flock(stream, fcntl.LOCK_EX)
        draft.rename(path)
        self._files.append(_Own(path, stream))


@dataclass
class _Own:
    """A file that this process writes."""

    path: Path
    stream: IO[bytes]
    size: int = 0
    handed_over: int = 0

    @property
    def pending(self) -> int:
        return self.size - self.handed_over

    def append(self, text: bytes) -> None:
        written = os.write(self.stream.fileno(), text)
        if written < len(text):
            # Half a line would spoil the next one.
            os.ftruncate(self.stream.fileno(), self.size)
            raise OSError(f"{self.path.name}: no space is left")
        self.size += written

    def read_on(self) -> tuple[int, list[Line]]:
        end = self.size
        data = os.pread(self.stream.fileno(), end - self.handed_over, self.handed_over)
        return end, list(_lines(data))

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self.stream.close()


def bring_home(folder: Path, take: Callable[[Sequence[Line]], None]) -> int:
    """Hand over what processes left that are no more, and remove their files.

    Returns how many lines there were. Several processes may do so at once: each file is one's.
    """
    count = 0
    for path in sorted(folder.glob(f"*{_SUFFIX}")):
        try:
            stream = path.open("rb")
        except FileNotFoundError:
            continue
        with stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            lines = list(_lines(stream.read()))
            if lines:
                take(lines)
            path.unlink(missing_ok=True)
            count += len(lines)
    return count


def _lines(data: bytes) -> Iterator[Line]:
    """Whole lines; the machine may have died within the last one."""
    for text in data.splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict):
            yield line
