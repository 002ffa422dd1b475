"""A supervised job: what is started again, how often, and what is kept of it."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from aiplat.cluster.submission.client import JobState, Resources, follow
from aiplat.cluster.submission.record import Record, unfinished
from aiplat.cluster.submission.revival import revive
from aiplat.cluster.submission.submission import SUPERVISOR, Submission, Supervision, start, stop
from aiplat.cluster.submission.watcher import Watcher
from tests.cluster.submission.jobs import FAILED, KILLED, LOST, RAN, STOPPED, FakeJobs

ENVIRONMENT = {"working_dir": "gcs://package.zip", "env_vars": {"A": "1"}}


def submission(storage: Path, resubmissions: int = 3) -> Submission:
    return Submission(
        id="train-digits-1",
        python="python",
        arguments=("-m", "aiplat.jobs.train", "model={_target_: 'a b'}"),
        metadata={"user": "ada"},
        resources=Resources(num_gpus=1, label_selector={"zone": "a"}),
        supervision=Supervision(str(storage), resubmissions, backoff_s=5),
    )


def watch(
    jobs: FakeJobs, job: Submission, environment: Mapping[str, object] = ENVIRONMENT
) -> tuple[int, str]:
    said: list[str] = []
    record = Record.of(job)
    if not record.exists:
        record.begin(job, environment, b"package")
    return Watcher(jobs, job, environment, said.append).run(), "".join(said)


@pytest.mark.parametrize("lost", [KILLED, LOST])
def test_a_job_that_was_lost_is_started_again(tmp_path: Path, lost: JobState) -> None:
    jobs, job = FakeJobs([lost, lost, RAN]), submission(tmp_path)
    status, said = watch(jobs, job)
    assert status == 0
    # Each time by the same command, after a while that doubles.
    assert jobs.commands["train-digits-1-1"] == job.command
    assert jobs.commands["train-digits-1-2"] == f"sleep 5.0; {job.command}"
    assert jobs.commands["train-digits-1-3"] == f"sleep 10.0; {job.command}"
    assert jobs.resources["train-digits-1-3"].num_gpus == 1
    assert jobs.environments["train-digits-1-3"] == ENVIRONMENT
    assert said.count("says hello") == 3
    assert "train-digits-1-1 was lost: " in said
    record = Record.of(job)
    assert record.status == "SUCCEEDED"
    assert record.lives == [1, 2, 3]
    assert record.log(3) == "train-digits-1-3 says hello\n"


@pytest.mark.parametrize(("end", "expected"), [(RAN, 0), (FAILED, 2), (STOPPED, 130)])
def test_a_job_that_comes_to_an_end_by_itself_is_not(
    tmp_path: Path, end: JobState, expected: int
) -> None:
    jobs = FakeJobs([end, RAN])
    assert watch(jobs, submission(tmp_path))[0] == expected
    assert list(jobs.commands) == ["train-digits-1-1"]
    assert list(unfinished(str(tmp_path))) == []


def test_what_is_lost_again_and_again_is_given_up(tmp_path: Path) -> None:
    jobs = FakeJobs([KILLED] * 9)
    status, said = watch(jobs, submission(tmp_path, resubmissions=2))
    assert status == 128 + 9
    assert len(jobs.commands) == 3
    assert "was lost 3 times, max_resubmissions=2: given up" in said
    assert "its driver was ended by SIGKILL" in said


def test_a_dashboard_that_is_away_for_a_moment_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aiplat.cluster.submission.watcher.time.sleep", lambda _: None)
    assert watch(FakeJobs([RAN], unreachable=2), submission(tmp_path))[0] == 0


def test_jobs_that_ended_with_their_cluster_go_on_with_the_next(tmp_path: Path) -> None:
    job = submission(tmp_path)
    record = Record.of(job)
    record.begin(job, ENVIRONMENT, b"what travels")
    record.write_log(1, "one step\n")
    over = submission(tmp_path)
    over = Submission(**{**vars(over), "id": "train-over"})
    Record.of(over).begin(over, {}, None)
    Record.of(over).end("FAILED")

    after = FakeJobs()
    assert revive(after, str(tmp_path), pause=lambda _: None) == [job.id]
    assert Submission.from_json(job.to_json()) == job
    assert "aiplat.cluster.submission.watcher" in after.commands[job.id]
    # The watcher stays on the head, whatever its job takes.
    assert after.resources[job.id] == Resources()
    archive = str(after.environments[job.id]["working_dir"])
    assert archive.endswith(".zip")
    assert after.environments[job.id]["env_vars"] == {"A": "1"}
    # What that watcher then does: the logs of both lives, and a life with a number of its own.
    status, said = watch(FakeJobs([RAN]), job)
    assert status == 0
    assert "== life 1 of train-digits-1, as it was kept\none step\n== life 2" in said


def test_nobody_takes_a_job_from_who_looks_after_it(tmp_path: Path) -> None:
    job = submission(tmp_path)
    record = Record.of(job)
    record.begin(job, {}, None)
    record.beat()
    assert revive(FakeJobs(), str(tmp_path), pause=lambda _: record.beat()) == []


def test_one_that_the_cluster_has_is_not_started_twice(tmp_path: Path) -> None:
    jobs, job = FakeJobs(), submission(tmp_path)
    assert start(jobs, job, {})
    assert not start(jobs, job, {})


def test_to_stop_a_supervised_job_is_to_stop_its_life(tmp_path: Path) -> None:
    jobs, job = FakeJobs([KILLED]), submission(tmp_path)
    mine = {SUPERVISOR: job.id}
    jobs.submit(f"{job.id}-1", "", {}, mine, Resources())
    jobs.submit(f"{job.id}-2", "", {}, mine, Resources())
    jobs.submit(job.id, "", {}, {}, Resources())
    stop(jobs, job.id)
    assert jobs.stopped == [f"{job.id}-2"]
    stop(jobs, "plain")
    assert jobs.stopped[1:] == ["plain"]


def test_a_log_goes_on_where_the_connection_broke(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aiplat.cluster.submission.client.time.sleep", lambda _: None)

    class Breaking(FakeJobs):
        """Each connection brings one character more."""

        def tail(self, job_id, write):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
            self.unreachable += 1
            for letter in "abc"[: self.unreachable]:
                write(letter)
            if self.unreachable == 3:
                self.states[job_id] = JobState(job_id, "SUCCEEDED", exit_code=0)

    jobs, said = Breaking(states={"x": JobState("x", "RUNNING")}), list[str]()
    assert follow(jobs, "x", said.append).exit_status == 0
    assert said == ["a", "b", "c"]
