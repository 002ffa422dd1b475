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


@contextmanager
def forwarded(send: Callable[[Event], None], rank: int) -> Iterator[None]:
    """What the block prints or logs becomes events of kind `log` that carry the rank."""

    def hand_on(line: str) -> None:
        send({"kind": "log", "rank": rank, "text": line})

    lines = _Lines(hand_on)
    handler = logging.StreamHandler(lines)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    _quieten_ray()
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        with redirect_stdout(lines), redirect_stderr(lines):
            yield
    finally:
        root.removeHandler(handler)


def _quieten_ray() -> None:
    """Ray tells of each report at length; some of its loggers are named by their file."""
    for name in list(logging.root.manager.loggerDict):
        if name.startswith("ray.") or "/ray/" in name:
            logging.getLogger(name).setLevel(logging.WARNING)
