"""Submitting jobs: what is told before anything travels, and what is shown of a job."""

import io

import pytest
from rich.console import Console

from aiplat.cluster.submission.client import JobState, Resources
from aiplat.cluster.submission.submission import SUPERVISOR, Supervision
from aiplat.config.command import status
from aiplat.jobs import submit_follow
from aiplat.jobs.cluster_schema import EntrypointConfig, SubmitConfig
from aiplat.jobs.submit import main
from aiplat.jobs.submit_follow import Following, Shown, hints
from aiplat.jobs.submit_run import _lacks, planned
from aiplat.jobs.submit_table import QUESTION, table_of
from tests.cluster.submission.jobs import FAILED, RAN, FakeJobs

CONSOLE = Console(soft_wrap=True)


def call(*arguments: str) -> int:
    return status(main, "submit", SubmitConfig, arguments)


def config(*arguments: str, **values: object) -> SubmitConfig:
    told = {"action": "run", "job": "train", "arguments": list(arguments), "project": "vision"}
    return SubmitConfig(**{**told, **values})  # type: ignore[arg-type]


def test_a_job_is_told_what_it_would_be_told_here() -> None:
    job = planned(
        config(
            *("+exp=tabular", "name=a b", "storage=/shared/aiplat"),
            supervise=True,
            entrypoint=EntrypointConfig(num_gpus=1, memory_gb=2, labels={"zone": "a"}),
        )
    )
    assert job.command == (
        "exec python -m aiplat.jobs.train +exp=tabular 'name=a b' storage=/shared/aiplat"
    )
    assert job.id.startswith("train-a-b-")
    assert {**job.metadata, "user": ""} == {
        "user": "",
        "project": "vision",
        "experiment": "a b",
        "job": "train",
    }
    assert job.resources == Resources(num_gpus=1, memory=2 << 30, label_selector={"zone": "a"})
    assert job.supervision == Supervision("/shared/aiplat", max_resubmissions=5, backoff_s=5)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["trian", "+exp=clip"], "there is no job 'trian'; did you mean 'train'"),
        (["train", "+exp=clip", "loop.max_epoch=3"], "loop.max_epoch"),
        (["train", "+exp=clip"], "storage=storage: on the cluster, that is inside the copy"),
        (["train", "--help"], "--help needs no cluster: python -m aiplat.jobs.train --help"),
        (["supervise=true", "cluster", "render"], "on the cluster, that is inside the copy"),
        (["stop"], "stop needs job=<id>; 'list' shows them"),
        (["revive"], "revive needs storage="),
        (["backoff_s=-1", "list"], "cannot be negative"),
        (["address=http://127.0.0.1:9", "list"], "http://127.0.0.1:9 does not answer"),
    ],
)
def test_what_is_wrong_is_told_before_anything_travels(
    arguments: list[str],
    told: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "unused")
    assert call(*arguments) == 2
    assert told in " ".join(capsys.readouterr().err.split())


def test_the_libraries_of_a_cluster_are_asked_for_once() -> None:
    jobs = FakeJobs([RAN])
    jobs.logs = {}
    asked = config()
    # The interpreter of the head says nothing of the kind: it is none.
    assert _lacks(CONSOLE, asked, jobs)
    assert len(jobs.states) == 1
    jobs.submit("train-1", "", {}, {"environment": "cluster"}, Resources())
    assert not _lacks(CONSOLE, asked, jobs)
    assert len(jobs.states) == 2


def test_following_ends_as_the_job_does(capsys: pytest.CaptureFixture[str]) -> None:
    for end, expected in ((RAN, 0), (FAILED, 2)):
        jobs = FakeJobs([end])
        jobs.submit("train-1", "", {}, {}, Resources())
        following = Following(CONSOLE, "train-1", "auto", jobs)
        assert following.run() == expected
    assert "train-1 says hello" in capsys.readouterr().out


def test_a_supervised_job_goes_on_where_its_cluster_comes_back(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before, after = FakeJobs(unreachable=1), FakeJobs([RAN])
    monkeypatch.setattr(submit_follow, "DashboardJobs", lambda url: after)
    monkeypatch.setattr(submit_follow, "dashboard_of", lambda address: address)
    monkeypatch.setattr(submit_follow, "_KNOWN_AFTER_S", 0.01)
    monkeypatch.setattr(submit_follow, "_RETRY_S", 0.01)
    after.logs["train-1"] = "== life 1 of train-1, as it was kept\nold\n== life 2 of train-1\nnew\n"

    def resubmit(jobs: object) -> bool:
        assert jobs is after
        return after.submit("train-1", "", {}, {}, Resources())

    following = Following(CONSOLE, "train-1", "http://head:8265", before, resubmit)
    following.shown.life = 1
    assert following.run() == 0
    out = capsys.readouterr().out
    assert "does not answer" in out
    assert "== life 2 of train-1\nnew\n" in out
    assert "old" not in out


def test_lives_that_were_shown_are_not_shown_again() -> None:
    parts: list[str] = []
    shown = Shown(parts.append)
    shown.write("== life 1 of x\none\n== li")
    shown.write("fe 2 of x\ntwo")
    shown.begin_again()
    shown.write("Ray says\n== life 1 of x\none\n== life 2 of x\ntwo\n== life 3 of x\nthree\n")
    assert "".join(parts) == "== life 1 of x\none\n== life 2 of x\ntwo== life 3 of x\nthree\n"


def test_without_a_terminal_ctrl_c_leaves_the_job_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Interrupted(FakeJobs):
        def tail(self, job_id, write):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
            raise KeyboardInterrupt

    monkeypatch.setattr("sys.stdin", io.StringIO())
    jobs = Interrupted()
    jobs.submit("train-1", "", {}, {}, Resources())
    assert Following(CONSOLE, "train-1", "auto", jobs).run() == 130
    assert jobs.stopped == []
    assert "python -m aiplat.jobs.submit stop job=train-1" in capsys.readouterr().out


def test_how_to_come_back_names_the_cluster() -> None:
    told = hints("train-1", "http://head:8265")
    assert "python -m aiplat.jobs.submit address=http://head:8265 logs job=train-1\n" in told


def test_the_lives_of_a_supervised_job_are_one_line() -> None:
    table = table_of(
        [
            JobState("train-1-2", "RUNNING", metadata={SUPERVISOR: "train-1"}),
            JobState("train-1-1", "FAILED", metadata={SUPERVISOR: "train-1"}),
            JobState("train-1", "RUNNING", metadata={"user": "ada"}),
            JobState("libraries-1", "SUCCEEDED", metadata={QUESTION: "libraries"}),
            JobState("train-0", "FAILED", exit_code=2, started=100.0, ended=225.0),
        ]
    )
    lines = list(zip(*(column.cells for column in table.columns), strict=True))
    assert lines[0] == ("train-1", "running", "ada", "", "", "", "", "2")
    assert lines[1][:2] == ("train-0", "failed (2)")
    assert lines[1][6] == "2:05"
    assert len(lines) == 2
