"""Jobs on a real cluster: their logs, their exit codes, and one that is started again."""

import sys
from pathlib import Path

import pytest

from aiplat.cluster.session import Session
from aiplat.cluster.submission.client import DashboardJobs, Resources, dashboard_of, follow
from aiplat.cluster.submission.record import Record
from aiplat.cluster.submission.submission import Submission, Supervision
from aiplat.cluster.submission.watcher import Watcher

pytestmark = [
    pytest.mark.cluster,
    # Ray's client asks aiohttp for it so.
    pytest.mark.filterwarnings("ignore:ssl=None is deprecated:DeprecationWarning"),
]

# Killed the first time, by what it is told to leave behind then.
CODE = """
import os, pathlib, sys
mark = pathlib.Path(sys.argv[1])
print("life", mark.exists(), flush=True)
if not mark.exists():
    mark.touch()
    os.kill(os.getpid(), 9)
sys.exit(3)
"""


def test_a_job_is_followed_and_its_exit_code_told(cluster: Session) -> None:
    assert dashboard_of(cluster.address) == cluster.dashboard_url
    jobs = DashboardJobs(cluster.dashboard_url)
    jobs.check_version()
    assert jobs.state("answer") is None
    command = f"exec {sys.executable} -c 'import sys; print(42); sys.exit(7)'"
    assert jobs.submit("answer", command, {}, {"user": "ada"}, Resources())
    assert not jobs.submit("answer", command, {}, {}, Resources())
    said: list[str] = []
    state = follow(jobs, "answer", said.append)
    assert (state.exit_status, state.was_lost, state.metadata) == (7, False, {"user": "ada"})
    assert "".join(said).splitlines()[-1] == "42"
    assert "answer" in [state.id for state in jobs.all()]


def test_a_job_that_was_killed_is_started_again(cluster: Session, tmp_path: Path) -> None:
    submission = Submission(
        id="killed",
        python=sys.executable,
        arguments=("-c", CODE, str(tmp_path / "mark")),
        metadata={},
        supervision=Supervision(str(tmp_path), max_resubmissions=2, backoff_s=0.5),
    )
    record = Record.of(submission)
    record.begin(submission, {}, None)
    said: list[str] = []
    jobs = DashboardJobs(cluster.dashboard_url)
    assert Watcher(jobs, submission, {}, said.append).run() == 3
    text = "".join(said)
    assert text.index("life False") < text.index("SIGKILL") < text.index("life True")
    assert record.lives == [1, 2]
    assert "life False\n" in record.log(1)
    assert record.status == "FAILED"
