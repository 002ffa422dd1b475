"""A job as it is submitted, and how it is looked after."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from aiplat.cluster.submission.client import Jobs, Resources

SUPERVISOR = "supervised_by"
_WATCHER = "aiplat.cluster.submission.watcher"


@dataclass(frozen=True)
class Supervision:
    """Start a job again when its driver or its node died.

    storage: where what outlives the cluster is kept. max_resubmissions: how often it is started
    again. backoff_s: before the first time; twice as long before each further one.
    """

    storage: str
    max_resubmissions: int
    backoff_s: float


@dataclass(frozen=True)
class Submission:
    """A job to run on a cluster.

    python: the interpreter, as the shell of the head finds it. arguments: of the interpreter.
    """

    id: str
    python: str
    arguments: tuple[str, ...]
    metadata: Mapping[str, str]
    resources: Resources = field(default_factory=Resources)
    supervision: Supervision | None = None

    def to_json(self) -> str:
        """All of it, on one line."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "Submission":
        """What `to_json` told."""
        told: dict[str, Any] = json.loads(text)
        supervision = told.pop("supervision")
        return cls(
            **told
            | {
                "arguments": tuple(told["arguments"]),
                "resources": Resources(**told["resources"]),
                "supervision": Supervision(**supervision) if supervision else None,
            }
        )

    @property
    def command(self) -> str:
        """What a shell is told to run; the interpreter takes the shell's place."""
        return f"exec {shlex.join([self.python, *self.arguments])}"


def start(jobs: Jobs, submission: Submission, runtime_env: Mapping[str, Any]) -> bool:
    """Start the job, or the watcher of one that is supervised.

    Returns False where the cluster has one of this id. Raises ClusterError.
    """
    if submission.supervision is None:
        command, resources = submission.command, submission.resources
    else:
        watcher = [submission.python, "-m", _WATCHER, submission.to_json()]
        # The job's own resources are for its lives; the watcher stays on the head.
        command, resources = f"exec {shlex.join(watcher)}", Resources()
    return jobs.submit(submission.id, command, runtime_env, submission.metadata, resources)


def stop(jobs: Jobs, job_id: str) -> None:
    """Ask a job to end, and not to be started again. Raises ClusterError.

    A watcher that sees its job stopped ends by itself, and knows that it was meant so; one that is
    ended itself could not tell that from a node that is taken away.
    """
    lives = [
        state
        for state in jobs.all()
        if state.metadata.get(SUPERVISOR) == job_id and not state.has_ended
    ]
    for life in lives:
        jobs.stop(life.id)
    if not lives:
        jobs.stop(job_id)
