"""Applications of Ray Serve, whatever they are: whether they run, and why not."""

import logging
import time
from typing import Any

from ray import serve

from aiplat.cluster.replicas import APPLICATION
from aiplat.errors import ClusterError
from aiplat.serving.config import ServingConfig

_POLL_S = 0.5


def quieten() -> None:
    """Serve's notes on its progress are for its log files; what matters is raised."""
    logging.getLogger("ray.serve").setLevel(logging.WARNING)


def wait_until_ready(config: ServingConfig, name: str = APPLICATION) -> None:
    """Return once an application runs. Raises ClusterError where it does not."""
    deadline = time.monotonic() + config.start_timeout_s
    while True:
        application = serve.status().applications.get(name)
        if application is None:
            raise ClusterError("what is deployed was taken down by someone else while it started")
        if application.status == "RUNNING":
            return
        if application.status in ("DEPLOY_FAILED", "UNHEALTHY"):
            raise ClusterError(f"the models cannot be served: {_messages(application)}")
        if time.monotonic() > deadline:
            raise ClusterError(
                f"the replicas are not ready after {config.start_timeout_s:g} s "
                f"(serve.start_timeout_s): {_messages(application)}. Where CPUs or GPUs are "
                "lacking, lower serve.replica.num_cpus or serve.autoscaling.min_replicas, or "
                "update in place with serve.replica.max_surge_percent=0"
            )
        time.sleep(_POLL_S)


def _messages(application: Any) -> str:
    """What Serve says of the deployments that are not well."""
    unwell = {
        name: deployment
        for name, deployment in application.deployments.items()
        if deployment.status != "HEALTHY"
    }
    told = [f"{name}: {_cause(item.message)}" for name, item in unwell.items() if item.message]
    states = [f"{name} is {item.status.value.lower()}" for name, item in unwell.items()]
    return "; ".join(told or states) or application.message


def _cause(message: str) -> str:
    """The message of a replica's error; of one that the user can mend without its traceback."""
    kind, _, said = message.strip().splitlines()[-1].partition(": ")
    return said if kind.startswith("aiplat.") else message
