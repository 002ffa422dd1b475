"""Processes of the clusters that these tests have started."""

import os
import signal
from contextlib import suppress
from pathlib import Path

from aiplat.cluster.processes import descendants


def end(title: str, at_most: int | None = None) -> None:
    """End those with a title like this one without notice.

    Only those of ours: others on this machine may have clusters, too.
    """
    for pid in called(title)[:at_most]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def called(title: str) -> list[int]:
    """The numbers of ours with a title like this one."""
    found = []
    for pid in descendants(os.getpid()):
        with suppress(FileNotFoundError, ProcessLookupError):
            if title.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found
