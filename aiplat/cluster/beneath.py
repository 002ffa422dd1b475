"""What a worker writes below Python: the output of C++ libraries, and the trace of a crash.

Ray gives each process files for its output; they stay when the process dies.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

Event = dict[str, Any]

_LONGEST_BYTES = 1 << 16
# Ray marks in these files which job and actor writes.
_MARKS = (":job_id:", ":actor_name:", ":task_name:")
_PATIENCE_S = 5.0


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


@contextmanager
def last_words(mailbox: Any) -> Iterator[Callable[[], None]]:
    """Yield what asks for all that the latest workers wrote before they died.

    It arrives as events, while other work goes on; the block's end waits a moment for it.
    """
    asked: list[Any] = []

    def ask() -> None:
        for worker in ray.get(mailbox.latest_workers.remote()):
            there = NodeAffinitySchedulingStrategy(worker["node"], soft=False)
            options = {"num_cpus": 0, "max_retries": 0, "scheduling_strategy": there}
            asked.append(ray.remote(_send_last_words).options(**options).remote(mailbox, worker))

    try:
        yield ask
    finally:
        if asked:
            ray.wait(asked, num_returns=len(asked), timeout=_PATIENCE_S)


def _send_last_words(mailbox: Any, worker: Event) -> None:
    """Runs on the node of a worker that is gone."""
    origin = {"at": time.time(), "rank": worker["rank"], "group": worker["group"]}
    events = [{**origin, **event} for event in OutputFiles(worker["files"]).read(is_complete=True)]
    ray.get(mailbox.put.remote(events))


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
    return "\n".join(line for line in lines if line.strip() and not line.startswith(_MARKS))
