"""Looks after one job: starts it, passes on what it says, and starts it again when it was lost.

A Ray job of its own on the head, which takes no CPUs. Each life of the job is a further Ray job. It
knows no training: a job that is started again by the same command is to go on by itself.
"""

import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from aiplat.cluster.submission.client import (
    DashboardJobs,
    Jobs,
    JobState,
    UnreachableError,
    dashboard_of,
    follow,
)
from aiplat.cluster.submission.package import everything, pack
from aiplat.cluster.submission.record import Record
from aiplat.cluster.submission.submission import SUPERVISOR, Submission
from aiplat.errors import AiplatError, ClusterError

BEAT_S = 5.0
LIFE = "== life"
_KEEP_S = 2.0
# A log is kept whole each time: a long one less often.
_BYTES_A_SECOND = 1 << 20
_LONGEST_BACKOFF_S = 300.0
_TRIES, _BETWEEN_TRIES_S = 10, 3.0


class Watcher:
    """Runs one supervised job to its end.

    say: passes on text. It ends with the exit status of the job's last life.
    """

    def __init__(
        self,
        jobs: Jobs,
        submission: Submission,
        runtime_env: Mapping[str, Any],
        say: Callable[[str], None],
    ) -> None:
        if submission.supervision is None:
            raise ClusterError(f"{submission.id} is not to be supervised")
        self.jobs, self.submission, self.runtime_env, self.say = jobs, submission, runtime_env, say
        self.supervision = submission.supervision
        self.record = Record.of(submission)
        self.current: str | None = None

    def run(self) -> int:
        """Start the job until it comes to an end by itself. Raises ClusterError."""
        lives = self.record.lives
        for life in lives:
            self.say(f"{LIFE} {life} of {self.submission.id}, as it was kept\n")
            self.say(self.record.log(life))
        life = max(lives, default=0)
        while True:
            life += 1
            state = self._live(life)
            if not state.was_lost or life > self.supervision.max_resubmissions:
                break
        if state.was_lost:
            self.say(
                f"{self.submission.id} was lost {life} times, "
                f"max_resubmissions={self.supervision.max_resubmissions}: given up\n"
            )
        self.record.end(state.status)
        return state.exit_status

    def _live(self, life: int) -> JobState:
        delay = self._backoff_s(life)
        waiting = f", in {delay:.0f} s" if delay else ""
        self.say(f"{LIFE} {life} of {self.submission.id}{waiting}\n")
        self.current = f"{self.submission.id}-{life}"
        # It waits as a job: there is always one that can be stopped.
        command = f"sleep {delay:.1f}; {self.submission.command}" if delay else None
        self.jobs.submit(
            self.current,
            command or self.submission.command,
            self.runtime_env,
            {**self.submission.metadata, SUPERVISOR: self.submission.id},
            self.submission.resources,
        )
        with _Keeper(self.record, life, self.say) as keeper:
            state = self._follow(self.current, keeper.write)
            if state.was_lost:
                # Ray's own words may be long, and hold the end of the log once more.
                keeper.write(f"{self.current} was lost: {_cause(state)}\n")
            elif state.exit_code is None and state.status == "FAILED":
                keeper.write(f"{self.current} failed: {state.message}\n")
        return state

    def _follow(self, job_id: str, write: Callable[[str], None]) -> JobState:
        """As `follow`; a dashboard that is started again is waited for."""
        left = _TRIES
        while True:
            try:
                return follow(self.jobs, job_id, write)
            except UnreachableError:
                left -= 1
                if not left:
                    raise
                time.sleep(_BETWEEN_TRIES_S)

    def _backoff_s(self, life: int) -> float:
        if life == 1:
            return 0.0
        return min(self.supervision.backoff_s * 2.0 ** (life - 2), _LONGEST_BACKOFF_S)


class _Keeper:
    """Keeps what a life says where it outlives the cluster, and shows that somebody looks after it.

    A storage that cannot be written is told of, and does not end the job.
    """

    def __init__(self, record: Record, life: int, say: Callable[[str], None]) -> None:
        self.record, self.life, self.say = record, life, say
        self.parts: list[str] = []
        self.kept = self.size = 0
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._keep_often, name="keeper", daemon=True)

    def __enter__(self) -> "_Keeper":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.thread.join()

    def write(self, text: str) -> None:
        """Pass text on, and keep it."""
        self.say(text)
        self.parts.append(text)

    def _keep_often(self) -> None:
        beat_at = kept_at = -_LONGEST_BACKOFF_S
        last = False
        while not last:
            last = self.done.wait(_KEEP_S / 4)
            now = time.monotonic()
            try:
                if now - beat_at > BEAT_S / 2:
                    self.record.beat()
                    beat_at = now
                if last or now - kept_at > max(_KEEP_S, self.size / _BYTES_A_SECOND):
                    self._keep()
                    kept_at = now
            except OSError as error:
                self.say(f"{self.record.folder} cannot be written: {error}\n")
                self.done.wait(BEAT_S)

    def _keep(self) -> None:
        count = len(self.parts)
        if count == self.kept:
            return
        text = "".join(self.parts[:count])
        self.record.write_log(self.life, text)
        self.kept, self.size = count, len(text)


def _cause(state: JobState) -> str:
    if state.exit_code is None:
        return (state.message or str(state.error_type)).splitlines()[0]
    return f"its driver was ended by {signal.Signals(-state.exit_code).name}"


def main(text: str) -> int:
    """Look after the job that is described by `text`, in the working directory of a Ray job."""
    submission = Submission.from_json(text)
    # Ray gives the address of the cluster's store to the jobs it runs, not the dashboard's.
    jobs = DashboardJobs(dashboard_of("auto"))
    state = jobs.state(submission.id)
    runtime_env = state.runtime_env if state else {}
    record = Record.of(submission)
    if not record.exists:
        record.begin(submission, runtime_env, _packed(Path.cwd()))
    watcher = Watcher(jobs, submission, runtime_env, _say)

    def end(*_: object) -> None:
        # Told so by `ray job stop`, or as its node goes: the job is not to be left alone.
        if watcher.current:
            with suppress(ClusterError):
                jobs.stop(watcher.current)
        sys.exit(128 + signal.SIGTERM)

    signal.signal(signal.SIGTERM, end)
    return watcher.run()


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _packed(folder: Path) -> bytes:
    with tempfile.TemporaryDirectory() as scratch:
        archive = Path(scratch, "package.zip")
        pack(folder, everything(folder), archive)
        return archive.read_bytes()


if __name__ == "__main__":
    try:
        status = main(sys.argv[1])
    except AiplatError as error:
        sys.stderr.write(f"{error}\n")
        status = 2
    sys.exit(status)
