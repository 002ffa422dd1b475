"""Supervised jobs that ended with their cluster are started again on the one there is now."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from aiplat.cluster.submission.client import Jobs
from aiplat.cluster.submission.record import Record, unfinished
from aiplat.cluster.submission.submission import start
from aiplat.cluster.submission.watcher import BEAT_S


def revive(jobs: Jobs, storage: str, pause: Callable[[float], None] = time.sleep) -> list[str]:
    """Start the jobs of `storage` that are not over and that nobody looks after; their ids.

    Who looks after one shows it every few seconds, on whatever cluster: that is waited for. Raises
    ClusterError.
    """
    before = [(record, record.pulse()) for record in unfinished(storage)]
    if not before:
        return []
    pause(3 * BEAT_S)
    left = [record for record, pulse in before if record.pulse() == pulse and record.status is None]
    return [record.submission.id for record in left if _started(jobs, record)]


def _started(jobs: Jobs, record: Record) -> bool:
    with tempfile.TemporaryDirectory() as scratch:
        return start(jobs, record.submission, record.runtime_env(Path(scratch)))
