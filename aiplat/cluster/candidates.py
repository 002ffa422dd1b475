"""Versions that a release tries, beside an endpoint, and the endpoint as a release sees it.

A candidate is a Serve application of its own without a route: it comes and goes, and the endpoint
is not deployed anew for it.
"""

import contextlib
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from ray import serve
from ray.serve.handle import DeploymentHandle

from aiplat.cluster.applications import quieten, wait_until_ready
from aiplat.cluster.remote import RemoteModel
from aiplat.cluster.replicas import (
    APPLICATION,
    CANDIDATES,
    ENDPOINT,
    deployment_name,
)
from aiplat.cluster.serve import deploy, describe, model_application
from aiplat.errors import ClusterError
from aiplat.registry.versions import ModelVersion
from aiplat.serving.config import ServingConfig
from aiplat.serving.metering.books import BooksPlace
from aiplat.serving.releases.release import Release
from aiplat.serving.served import ModelInfo

_REPLY_S = 10.0


async def open_candidate(release: Release) -> RemoteModel:
    """The candidate of a release, for the endpoint to ask."""
    handle = _candidate_handle(release.endpoint)
    return RemoteModel(await handle.describe.remote(), handle)


def _candidate_handle(name: str) -> DeploymentHandle:
    return serve.get_deployment_handle(deployment_name(name), f"{CANDIDATES}{name}")


@dataclass(frozen=True)
class RunningEndpoint:
    """The endpoint of this cluster. versions: model -> version that it was deployed with."""

    versions: Mapping[str, str]
    config: ServingConfig
    books: BooksPlace

    @classmethod
    def find(cls) -> "RunningEndpoint":
        """The endpoint that answers. Raises ClusterError where there is none."""
        quieten()
        if APPLICATION not in serve.status().applications:
            raise ClusterError(
                "no endpoint runs on this cluster: deploy one with python -m aiplat.jobs.serve, on "
                "a cluster that was started with 'ray start --head', or set cluster.address"
            )
        handle = serve.get_deployment_handle(ENDPOINT, APPLICATION)
        try:
            return cls(*handle.deployed.remote().result(timeout_s=_REPLY_S))
        except TimeoutError as error:
            raise ClusterError(f"the endpoint did not answer within {_REPLY_S:g} s") from error

    def describe(self, name: str) -> ModelInfo:
        """What the served version of a model takes and answers."""
        return describe(name)

    def serves(self, name: str) -> str | None:
        """The version that answers for a model now; None while that changes."""
        application = serve.status().applications.get(APPLICATION)
        if application is None or application.status != "RUNNING":
            return None
        with contextlib.suppress(Exception):
            # One of its replicas may just be going.
            return RunningEndpoint.find().versions.get(name)
        return None

    def update(self, models: Mapping[str, ModelVersion]) -> None:
        """Deploy other versions, without a request dropped. Raises ClusterError."""
        deploy(models, self.config, self.books)

    def start_candidate(self, name: str, version: ModelVersion) -> ModelInfo:
        """Start replicas of a version beside the endpoint, warmed up. Raises ClusterError."""
        scaling = self.config.autoscaling
        # The first request of a canary should not pay for a start.
        kept = dataclasses.replace(scaling, min_replicas=max(1, scaling.min_replicas))
        config = dataclasses.replace(self.config, autoscaling=kept)
        application = model_application(name, version, config, self.books)
        target = serve.RunTarget(application, name=f"{CANDIDATES}{name}", route_prefix=None)
        try:
            serve.run_many([target], wait_for_applications_running=False)
            wait_until_ready(config, f"{CANDIDATES}{name}")
            info: ModelInfo = _candidate_handle(name).describe.remote().result()
            return info
        except BaseException:
            self.remove_candidate(name)
            raise

    def remove_candidate(self, name: str) -> None:
        """End the candidate's replicas, once they have answered what they have in hand."""
        if f"{CANDIDATES}{name}" in serve.status().applications:
            serve.delete(f"{CANDIDATES}{name}")
