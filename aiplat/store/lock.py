"""Who may write a folder: one process at a time."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from aiplat.errors import ConfigError
from aiplat.store import files

_LOCK = ".lock"


@contextmanager
def held(folder: str, refusal: str) -> Iterator[None]:
    """Create the folder and hold it until the block ends.

    Raises ConfigError that says `refusal` where another process holds it. Remote storage has no
    locks: there the submitter keeps names apart.
    """
    if files.is_remote(folder):
        yield
        return
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    with (path / _LOCK).open("w") as lock:
        _take(lock, refusal)
        yield


def _take(lock: IO[str], refusal: str) -> None:
    # The kernel gives the lock back when its holder dies, however it dies.
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConfigError(refusal) from None
