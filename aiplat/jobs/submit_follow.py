"""Showing what a submitted job says, until it ends or a person has seen enough."""

import re
import sys
import time
from collections.abc import Callable

from rich.console import Console

from aiplat.cluster.submission.client import (
    DashboardJobs,
    Jobs,
    JobState,
    UnreachableError,
    dashboard_of,
    follow,
)
from aiplat.cluster.submission.submission import stop
from aiplat.cluster.submission.watcher import LIFE
from aiplat.config import command

_RETRY_S, _KNOWN_AFTER_S = 2.0, 10.0
_ANSWERS = {"d": "detach", "s": "stop", "": "detach"}


class Following:
    """Follows one job. resubmit: starts it where the cluster lost it; None: nobody does."""

    def __init__(
        self,
        console: Console,
        job_id: str,
        address: str,
        jobs: Jobs,
        resubmit: Callable[[Jobs], bool] | None = None,
    ) -> None:
        self.console, self.job_id, self.address = console, job_id, address
        self.jobs, self.resubmit = jobs, resubmit
        self.shown = Shown()

    def run(self) -> int:
        """Show the log until the job has ended; returns its exit status. Raises ClusterError."""
        while True:
            try:
                state = follow(self.jobs, self.job_id, self.shown.write)
            except UnreachableError as error:
                if self.resubmit is None:
                    raise
                self._wait_for_cluster(error)
            except KeyboardInterrupt:
                return self._interrupted()
            else:
                return self._ended(state)

    def _ended(self, state: JobState) -> int:
        if state.exit_status == command.EXIT_INTERRUPTED:
            self.console.print(f"{self.job_id} was stopped")
        elif state.status != "SUCCEEDED":
            why = "" if state.exit_code is not None else f": {state.message}"
            self.console.print(f"{self.job_id} {state.status.lower()}{why}", markup=False)
        return state.exit_status

    def _wait_for_cluster(self, error: UnreachableError) -> None:
        """Return once there is a cluster at the address that has the job."""
        self.console.print(f"{error}; waiting for it, as the job is supervised", markup=False)
        try:
            while True:
                time.sleep(_RETRY_S)
                try:
                    self.jobs = DashboardJobs(dashboard_of(self.address))
                    # Whoever started it again may start its jobs again, too.
                    if self._appears() or (self.resubmit and self.resubmit(self.jobs)):
                        break
                except UnreachableError:
                    continue
        except KeyboardInterrupt:
            sys.exit(self._interrupted())
        self.console.print(f"{self.job_id} goes on")
        self.shown.begin_again()

    def _appears(self) -> bool:
        until = time.monotonic() + _KNOWN_AFTER_S
        while time.monotonic() < until:
            if self.jobs.state(self.job_id) is not None:
                return True
            time.sleep(_RETRY_S)
        return False

    def _interrupted(self) -> int:
        if sys.stdin.isatty() and _asked(self.console, self.job_id) == "stop":
            stop(self.jobs, self.job_id)
            self.console.print(f"{self.job_id} was asked to end")
        else:
            self.console.print(hints(self.job_id, self.address), markup=False)
        return command.EXIT_INTERRUPTED


class Shown:
    """What was written of a job's log: the lives of before are not shown again."""

    def __init__(self, write: Callable[[str], object] | None = None) -> None:
        self.write_out = write or sys.stdout.write
        self.life = 0
        self.hides = False
        self.line = ""

    def begin_again(self) -> None:
        """The log begins anew, with the lives there were."""
        self.hides, self.line = True, ""

    def write(self, text: str) -> None:
        """Show text, from the first life on that was not shown."""
        for line in text.splitlines(keepends=True):
            self.line += line
            if not self.hides:
                self.write_out(line)
            if self.line.endswith("\n"):
                self._took(self.line)
                self.line = ""
        sys.stdout.flush()

    def _took(self, line: str) -> None:
        begun = re.match(rf"{LIFE} (\d+) of ", line)
        if begun is None:
            return
        if self.hides and int(begun[1]) > self.life:
            self.hides = False
            self.write_out(line)
        self.life = max(self.life, int(begun[1]))


def hints(job_id: str, address: str) -> str:
    """How to come back to a job, and how to end it."""
    at = "" if address == "auto" else f"address={address} "
    ours = "python -m aiplat.jobs.submit"
    return (
        f"{job_id} goes on; follow it:  {ours} {at}logs job={job_id}\n"
        f"{' ' * len(job_id)}        end it:  {ours} {at}stop job={job_id}"
    )


def _asked(console: Console, job_id: str) -> str:
    while True:
        try:
            answer = console.input(f"\n{job_id}: [b]d[/b]etach, or [b]s[/b]top it? (d) ")
        except (EOFError, KeyboardInterrupt):
            return "detach"
        if answer.strip().lower()[:1] in _ANSWERS:
            return _ANSWERS[answer.strip().lower()[:1]]
