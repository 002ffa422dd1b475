"""What the client makes of a dashboard's refusals, asked of one that stands in for Ray's."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import ray

from aiplat.cluster.submission.client import DashboardJobs, Resources, UnreachableError
from aiplat.errors import ClusterError

Reply = tuple[int, str]

VERSION = {
    "version": "4",
    "ray_version": ray.__version__,
    "ray_commit": "",
    "session_name": "session",
}


class Dashboard(ThreadingHTTPServer):
    """Answers each path with what `replies` says, and others with 404."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.replies: dict[str, Reply] = {"GET /api/version": (200, json.dumps(VERSION))}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Dashboard

    def _reply(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, text = self.server.replies.get(f"{self.command} {self.path}", (404, "not found"))
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    do_GET = do_POST = _reply  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def dashboard() -> Iterator[Dashboard]:
    with Dashboard() as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        yield server
        server.shutdown()
        serving.join()


def submit(jobs: DashboardJobs) -> bool:
    return jobs.submit("one", "true", {}, {}, Resources())


def refusal(ask: Callable[[], object]) -> str:
    with pytest.raises(ClusterError) as refused:
        ask()
    return str(refused.value)


def test_a_job_is_submitted_once(dashboard: Dashboard) -> None:
    jobs = DashboardJobs(dashboard.url)
    dashboard.replies["POST /api/jobs/"] = (
        200,
        json.dumps({"job_id": "one", "submission_id": "one"}),
    )
    assert submit(jobs)
    dashboard.replies["GET /api/jobs/one"] = (
        200,
        json.dumps(
            {
                "type": "SUBMISSION",
                "submission_id": "one",
                "status": "RUNNING",
                "entrypoint": "true",
            }
        ),
    )
    assert not submit(jobs)
    state = jobs.state("one")
    assert state is not None
    assert (state.status, state.has_ended) == ("RUNNING", False)


def test_a_head_without_an_agent_is_told_with_what_helps(dashboard: Dashboard) -> None:
    jobs = DashboardJobs(dashboard.url)
    told = "No available agent to submit job, please try again later."
    dashboard.replies["POST /api/jobs/"] = 500, told
    said = refusal(lambda: submit(jobs))
    assert said.startswith(f"the cluster at {dashboard.url} takes no jobs: Ray's agent")
    assert "--dashboard-agent-listen-port" in said


def test_what_else_the_dashboard_refuses_is_told_in_its_words(dashboard: Dashboard) -> None:
    jobs = DashboardJobs(dashboard.url)
    dashboard.replies["POST /api/jobs/"] = 400, "entrypoint_num_gpus is -1"
    said = refusal(lambda: submit(jobs))
    assert said.startswith(f"the cluster at {dashboard.url} refuses: ")
    assert "entrypoint_num_gpus is -1" in said


def test_a_cluster_of_another_ray_is_named(dashboard: Dashboard) -> None:
    dashboard.replies["GET /api/version"] = 200, json.dumps(VERSION | {"ray_version": "2.1.0"})
    said = refusal(DashboardJobs(dashboard.url).check_version)
    assert said.startswith(f"the cluster runs Ray 2.1.0, and Ray {ray.__version__} is installed")


def test_a_dashboard_that_is_gone_is_unreachable_and_not_a_refusal(dashboard: Dashboard) -> None:
    jobs = DashboardJobs(dashboard.url)
    dashboard.shutdown()
    dashboard.server_close()
    with pytest.raises(UnreachableError, match=f"the cluster at {dashboard.url} does not answer"):
        jobs.all()
