"""What a worker prints and logs, on its way to the person who watches the run.

Python's output is taken from its streams; what is written beneath them (C++ libraries, the trace of
a crash) is read from the files that Ray gives each process.
"""

import io
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

Event = dict[str, Any]

_LONGEST_BYTES = 1 << 16
# Ray marks in these files which job and actor writes; a crash lists every module, a page of them.
_NOISE = (":job_id:", ":actor_name:", ":task_name:", "Extension modules:")


class _Lines(io.TextIOBase):
    """A stream that hands on each complete line; of a progress bar, what it showed last."""

    def __init__(self, hand_on: Callable[[str], None]) -> None:
        self.hand_on = hand_on
        self.begun = ""
        # Prefetch threads print, too; and what is printed while an object dies may come in between.
        self.lock = threading.RLock()

    def write(self, text: str) -> int:
        with self.lock:
            *lines, self.begun = (_after_return(self.begun) + text).split("\n")
            for line in lines:
                shown = _after_return(line).rstrip("\r")
                if shown.strip():
                    self.hand_on(shown)
        return len(text)

    def writable(self) -> bool:
        return True

    def finish(self) -> None:
        """Hand on a line that has no end."""
        if self.begun.strip():
            self.write("\n")


def _after_return(line: str) -> str:
    """What a terminal would show of a line that returns to its beginning to be written over."""
    return line.rstrip("\r").rpartition("\r")[2] + ("\r" if line.endswith("\r") else "")


class _Records(logging.Handler):
    """Hands on what is logged, a record at a time."""

    def __init__(self, send: Callable[[Event], None]) -> None:
        super().__init__()
        self.send = send
        self.setFormatter(logging.Formatter("%(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)
        except Exception:
            self.handleError(record)
        else:
            self.send({"kind": "log", "level": record.levelname.lower(), "text": text})


@contextmanager
def forwarded(send: Callable[[Event], None]) -> Iterator[None]:
    """What the block prints or logs becomes events of kind `log`.

    A record of the logging module is one event and carries its level; what is printed has none.
    """
    lines = _Lines(lambda line: send({"kind": "log", "text": line}))
    records = _Records(send)
    _quieten_ray()
    root = logging.getLogger()
    before = root.handlers
    # Another handler that writes to the console would tell everything a second time.
    root.handlers = [*(handler for handler in before if not _is_of_console(handler)), records]
    try:
        with redirect_stdout(lines), redirect_stderr(lines):
            yield
    finally:
        root.handlers = before
        lines.finish()


def _is_of_console(handler: logging.Handler) -> bool:
    return isinstance(handler, logging.StreamHandler) and not isinstance(
        handler, logging.FileHandler
    )


def _quieten_ray() -> None:
    """Ray tells of each report at length; some of its loggers are named by their file."""
    for name in list(logging.root.manager.loggerDict):
        if name.startswith("ray.") or "/ray/" in name:
            logging.getLogger(name).setLevel(logging.WARNING)


class OutputFiles:
    """Reads what is added to files, from where they ended when this was made.

    offsets: by path, how far they are read.
    """

    def __init__(self, offsets: dict[str, int]) -> None:
        self.offsets = offsets

    def read(self, is_complete: bool = False) -> Iterator[Event]:
        """What came since the last time, one event a file; half a line if nothing can follow.

        A flood is cut: its beginning and its end say what it is about.
        """
        for path, begin in self.offsets.items():
            try:
                size = Path(path).stat().st_size
                if size <= begin:
                    continue
                data = _between(path, begin, size)
            except OSError:
                continue
            end = size
            if not is_complete:
                cut = data.rfind(b"\n") + 1
                data, end = data[:cut], size - (len(data) - cut)
            self.offsets[path] = end
            if text := _text(data):
                yield {"kind": "log", "text": text, "file": path, "end": end}


def own_files() -> dict[str, int]:
    """The files that this process writes its output to, and how long they are."""
    paths = [str(Path(f"/proc/self/fd/{number}").resolve()) for number in (1, 2)]
    return {path: Path(path).stat().st_size for path in paths if Path(path).is_file()}


def last_words_of(worker: Event) -> list[Event]:
    """What a worker that is gone wrote since its files were read; to be asked on its node."""
    origin = {"at": time.time(), "rank": worker["rank"], "group": worker["group"]}
    return [{**origin, **event} for event in OutputFiles(worker["files"]).read(is_complete=True)]


def _between(path: str, begin: int, end: int) -> bytes:
    with Path(path).open("rb") as file:
        file.seek(begin)
        if end - begin <= _LONGEST_BYTES:
            return file.read(end - begin)
        half = _LONGEST_BYTES // 2
        first = file.read(half)
        file.seek(end - half)
        return first + b"\n(cut)\n" + file.read(half)


def _text(data: bytes) -> str:
    lines = data.decode(errors="replace").splitlines()
    return "\n".join(line for line in lines if line.strip() and not line.startswith(_NOISE))
