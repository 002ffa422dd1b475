"""The jobs of a cluster, asked of its dashboard. Knows nothing of what they run."""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from aiplat.cluster.scale import ClusterConfig
from aiplat.cluster.session import address_of, settle_environment
from aiplat.errors import ClusterError

_ENDED = ("STOPPED", "SUCCEEDED", "FAILED")
_PAUSE_S = 1.0
# What Ray says of it, and nothing more.
_NO_AGENT = "No available agent"
_ADDRESS = "RAY_API_SERVER_ADDRESS"
_EXIT_FAILED, _EXIT_STOPPED, _EXIT_SIGNAL = 1, 130, 128
# What failed is told by the job's log, or by how its libraries were installed.
_NO_DEATH = ("RUNTIME_ENV_SETUP_FAILURE", "JOB_ENTRYPOINT_COMMAND_START_ERROR")


class UnreachableError(ClusterError):
    """The dashboard does not answer: its head may be gone for good, or for a moment."""


@dataclass(frozen=True)
class Resources:
    """What the process of a job's entrypoint takes of its node; nothing: it runs on the head."""

    num_cpus: float = 0
    num_gpus: float = 0
    memory: int = 0
    label_selector: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class JobState:
    """What the cluster knows of a job.

    status: PENDING, RUNNING, STOPPED, SUCCEEDED or FAILED. exit_code: of its driver; below 0, the
    signal that ended it; None where it has not ended, or was lost with its node. started: seconds
    since 1970.
    """

    id: str
    status: str
    exit_code: int | None = None
    message: str = ""
    error_type: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    runtime_env: Mapping[str, Any] = field(default_factory=dict)
    started: float | None = None
    ended: float | None = None

    @property
    def has_ended(self) -> bool:
        """Whether it will not change any more."""
        return self.status in _ENDED

    @property
    def was_lost(self) -> bool:
        """Whether its driver or its node died, rather than coming to an end by itself."""
        if self.status != "FAILED":
            return False
        if self.exit_code is None:
            return self.error_type not in _NO_DEATH
        return self.exit_code < 0

    @property
    def exit_status(self) -> int:
        """What a shell would say of a job that ended."""
        if self.exit_code is not None:
            return self.exit_code if self.exit_code >= 0 else _EXIT_SIGNAL - self.exit_code
        return {"SUCCEEDED": 0, "STOPPED": _EXIT_STOPPED}.get(self.status, _EXIT_FAILED)


class Jobs(Protocol):
    """The jobs of one cluster. All of it raises UnreachableError where the cluster is not there."""

    def submit(
        self,
        job_id: str,
        command: str,
        runtime_env: Mapping[str, Any],
        metadata: Mapping[str, str],
        resources: Resources,
    ) -> bool:
        """Start a job; False where there is one of this id."""
        ...

    def state(self, job_id: str) -> JobState | None:
        """What is known of a job; None where there is none."""
        ...

    def all(self) -> list[JobState]:
        """Those that were submitted, the latest first."""
        ...

    def stop(self, job_id: str) -> None:
        """Ask a job to end."""
        ...

    def tail(self, job_id: str, write: Callable[[str], None]) -> None:
        """Write a job's log from its beginning, as it grows, as long as the connection lasts."""
        ...


def follow(jobs: Jobs, job_id: str, write: Callable[[str], None]) -> JobState:
    """Write a job's log until the job has ended; returns how it did. Raises ClusterError."""
    seen = written = 0

    def rest(chunk: str) -> None:
        nonlocal seen, written
        new = chunk[max(written - seen, 0) :]
        seen += len(chunk)
        if new:
            written = seen
            write(new)

    while True:
        seen = 0
        jobs.tail(job_id, rest)
        state = jobs.state(job_id)
        if state is None:
            raise ClusterError(f"the cluster knows no job {job_id!r} any more")
        if state.has_ended:
            return state
        time.sleep(_PAUSE_S)


def dashboard_of(address: str) -> str:
    """The dashboard's URL. address: it itself, or `auto`: of the cluster this machine belongs to.

    Raises ClusterError.
    """
    if "://" in address:
        return address.rstrip("/")
    settle_environment()
    if address == "auto":
        given = os.environ.get(_ADDRESS) or os.environ.get("RAY_ADDRESS", "")
        if given.startswith(("http://", "https://")):
            return given.rstrip("/")
    found = address_of(ClusterConfig(address=address))
    if found is None:
        raise UnreachableError(
            "address=auto: this machine belongs to no cluster; give the address of its dashboard, "
            "such as address=http://head:8265, or start one: python -m aiplat.jobs.cluster up"
        )
    from ray.dashboard.utils import ray_address_to_api_server_url

    with _told(found):
        return str(ray_address_to_api_server_url(found))


class DashboardJobs:
    """The jobs of the cluster whose dashboard has this URL."""

    def __init__(self, url: str) -> None:
        self.url = url
        settle_environment()
        from ray.job_submission import JobSubmissionClient

        # They tell of every upload and connection.
        for name in ("job.sdk", "dashboard_sdk"):
            logging.getLogger(f"ray.dashboard.modules.{name}").setLevel(logging.WARNING)
        with _told(url), _own_address(url):
            self._client = JobSubmissionClient(url)

    def check_version(self) -> None:
        """Raise ClusterError where the cluster runs another Ray than is installed here."""
        import ray

        # Its `get_version` tells that of the API.
        there = self._client._server_ray_version
        if there != ray.__version__:
            raise ClusterError(
                f"the cluster runs Ray {there}, and Ray {ray.__version__} is installed here: "
                "install the cluster's here, or use what its nodes have: environment=cluster"
            )

    def submit(
        self,
        job_id: str,
        command: str,
        runtime_env: Mapping[str, Any],
        metadata: Mapping[str, str],
        resources: Resources,
    ) -> bool:
        """See `Jobs`."""
        with _told(self.url):
            if self.state(job_id) is not None:
                return False
            self._client.submit_job(
                entrypoint=command,
                submission_id=job_id,
                runtime_env=dict(runtime_env),
                metadata=dict(metadata),
                entrypoint_num_cpus=resources.num_cpus,
                entrypoint_num_gpus=resources.num_gpus,
                entrypoint_memory=resources.memory,
                entrypoint_label_selector=dict(resources.label_selector) or None,
            )
        return True

    def state(self, job_id: str) -> JobState | None:
        """See `Jobs`."""
        with _told(self.url):
            try:
                return _state(self._client.get_job_info(job_id))
            except RuntimeError as error:
                if "status code 404" in str(error):
                    return None
                raise

    def all(self) -> list[JobState]:
        """See `Jobs`."""
        with _told(self.url):
            found = [_state(job) for job in self._client.list_jobs() if job.submission_id]
        return sorted(found, key=lambda state: -(state.started or 0))

    def stop(self, job_id: str) -> None:
        """See `Jobs`."""
        with _told(self.url):
            self._client.stop_job(job_id)

    def tail(self, job_id: str, write: Callable[[str], None]) -> None:
        """See `Jobs`."""

        async def receive() -> None:
            async for chunk in self._client.tail_job_logs(job_id):
                write(chunk)

        from ray.dashboard.modules.job import sdk

        try:
            asyncio.run(receive())
        except (RuntimeError, sdk.aiohttp.ClientError):
            # The connection broke: whoever follows asks for the job, and goes on.
            return


def _state(job: Any) -> JobState:
    return JobState(
        id=job.submission_id,
        status=str(job.status),
        exit_code=job.driver_exit_code,
        message=job.message or "",
        error_type=job.error_type,
        metadata=job.metadata or {},
        runtime_env=job.runtime_env or {},
        started=job.start_time / 1000 if job.start_time else None,
        ended=job.end_time / 1000 if job.end_time else None,
    )


@contextmanager
def _own_address(url: str) -> Iterator[None]:
    """Ray takes what its variable says rather than the address that its client is given."""
    before = os.environ.get(_ADDRESS)
    os.environ[_ADDRESS] = url
    try:
        yield
    finally:
        if before is None:
            del os.environ[_ADDRESS]
        else:
            os.environ[_ADDRESS] = before


@contextmanager
def _told(url: str) -> Iterator[None]:
    """Say what went wrong between us and the dashboard in words of ours."""
    from ray.exceptions import AuthenticationError

    try:
        yield
    except AuthenticationError as error:
        raise ClusterError(
            f"the cluster at {url} does not take this machine's token ({_place_of_token()}): give "
            "its own by RAY_AUTH_TOKEN_PATH=<file> or RAY_AUTH_TOKEN"
        ) from error
    except OSError as error:
        # Those of `requests` are such, too.
        raise UnreachableError(f"the cluster at {url} does not answer: {_first(error)}") from error
    except (RuntimeError, ValueError) as error:
        if _NO_AGENT in str(error):
            raise ClusterError(
                f"the cluster at {url} takes no jobs: Ray's agent, which starts them, is not up on "
                "its head. Try again in a minute; if that does not help, its port was taken when "
                "the head started, as by another Ray on that machine (dashboard_agent.log there "
                "says so): start the head with --dashboard-agent-listen-port=<a free one>"
            ) from error
        raise ClusterError(f"the cluster at {url} refuses: {_first(error)}") from error


def _first(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _place_of_token() -> str:
    if os.environ.get("RAY_AUTH_TOKEN"):
        return "RAY_AUTH_TOKEN"
    path = os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token"
    return path if Path(path).expanduser().is_file() else f"none: there is no {path}"
