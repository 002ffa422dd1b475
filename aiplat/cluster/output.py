"""What a worker prints and logs, on its way to the person who watches the run."""

import io
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

from aiplat.cluster.events import Event


class _Lines(io.TextIOBase):
    """A stream that hands on each complete line."""

    def __init__(self, hand_on: Callable[[str], None]) -> None:
        self.hand_on = hand_on
        self.begun = ""

    def write(self, text: str) -> int:
        *lines, self.begun = (self.begun + text).split("\n")
        for line in lines:
            if line.strip():
                self.hand_on(line)
        return len(text)

    def writable(self) -> bool:
        return True


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


def _is_of_console(handler: logging.Handler) -> bool:
    return isinstance(handler, logging.StreamHandler) and not isinstance(
        handler, logging.FileHandler
    )


def _quieten_ray() -> None:
    """Ray tells of each report at length; some of its loggers are named by their file."""
    for name in list(logging.root.manager.loggerDict):
        if name.startswith("ray.") or "/ray/" in name:
            logging.getLogger(name).setLevel(logging.WARNING)
