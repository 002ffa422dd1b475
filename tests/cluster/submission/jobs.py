"""A cluster's jobs, and lives that end as a test says."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiplat.cluster.submission.client import JobState, Resources, UnreachableError

RAN = JobState("", "SUCCEEDED", exit_code=0)
FAILED = JobState("", "FAILED", exit_code=2)
KILLED = JobState("", "FAILED", exit_code=-9)
STOPPED = JobState("", "STOPPED")
LOST = JobState("", "FAILED", message="its node died\nsee", error_type="JOB_SUPERVISOR_ACTOR_DIED")


@dataclass
class FakeJobs:
    """Each job that is submitted ends at once, as the next of `ends` does."""

    ends: list[JobState] = field(default_factory=list)
    states: dict[str, JobState] = field(default_factory=dict)
    commands: dict[str, str] = field(default_factory=dict)
    environments: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    resources: dict[str, Resources] = field(default_factory=dict)
    stopped: list[str] = field(default_factory=list)
    logs: dict[str, str] = field(default_factory=dict)
    unreachable: int = 0

    def submit(
        self,
        job_id: str,
        command: str,
        runtime_env: Mapping[str, Any],
        metadata: Mapping[str, str],
        resources: Resources,
    ) -> bool:
        if job_id in self.states:
            return False
        end = self.ends.pop(0) if self.ends else JobState("", "RUNNING")
        told = {**vars(end), "id": job_id, "metadata": metadata, "runtime_env": runtime_env}
        self.states[job_id] = JobState(**told)
        self.commands[job_id], self.resources[job_id] = command, resources
        self.environments[job_id] = dict(runtime_env)
        self.logs.setdefault(job_id, f"{job_id} says hello\n")
        return True

    def state(self, job_id: str) -> JobState | None:
        return self.states.get(job_id)

    def all(self) -> list[JobState]:
        return list(reversed(self.states.values()))

    def stop(self, job_id: str) -> None:
        self.stopped.append(job_id)

    def tail(self, job_id: str, write: Callable[[str], None]) -> None:
        if self.unreachable:
            self.unreachable -= 1
            raise UnreachableError("it does not answer")
        write(self.logs[job_id])
