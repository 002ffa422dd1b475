"""gRPC before the endpoint: the gateway as a Serve application of its own, beside the endpoint's.

It has no route, and is not deployed anew where the endpoint is: calls go on while models change.
"""

import contextlib
import secrets

from ray import serve

from aiplat.cluster.applications import wait_until_ready
from aiplat.cluster.replicas import APPLICATION, log_with_serve
from aiplat.serving.config import ServingConfig
from aiplat.serving.open_inference.gateway import Gateway, GatewaySettings

GATEWAY = f"{APPLICATION}-grpc"

_DEPLOYMENT = "gateway"
_GRACE_S = 5.0
_CHECK_S = 2.0
_REPLY_S = 10.0


class GatewayReplica:
    """The process that answers gRPC."""

    # Serve waits for it, as for the other one.
    async def __init__(self, settings: GatewaySettings) -> None:  # type: ignore[misc]
        log_with_serve()
        self._settings = settings
        self._gateway = Gateway(settings)
        await self._gateway.start()

    async def __del__(self) -> None:
        # Serve calls it when it lets the replica go.
        await self._gateway.stop(_GRACE_S)

    async def settings(self) -> GatewaySettings:
        """What it was started with."""
        return self._settings


def start_gateway(config: ServingConfig, url: str) -> GatewaySettings | None:
    """Have gRPC answered as the settings say, by the endpoint at `url`; in place of what there was.

    Returns what it was started with; None: it is not wanted. Raises ClusterError where it does not
    come up.
    """
    if config.grpc_port is None:
        end_gateway()
        return None
    running = _running()
    settings = GatewaySettings(
        host=config.host,
        port=config.grpc_port,
        url=url,
        secret=running.secret if running else secrets.token_urlsafe(),
        max_bytes=config.max_body_bytes,
        timeout_s=config.request_timeout_s,
    )
    if running != settings:
        target = serve.RunTarget(_application(settings, config), name=GATEWAY, route_prefix=None)
        serve.run_many([target], wait_for_applications_running=False)
        wait_until_ready(config, GATEWAY)
    return settings


def end_gateway() -> None:
    """Take the gateway down, if there is one."""
    if GATEWAY in serve.status().applications:
        serve.delete(GATEWAY)


def _application(settings: GatewaySettings, config: ServingConfig) -> serve.Application:
    deployment = serve.deployment(
        GatewayReplica,
        name=_DEPLOYMENT,
        # Where HTTP is answered.
        ray_actor_options={"num_cpus": 0, "resources": {"node:__internal_head__": 0.001}},
        # Two cannot listen on one port.
        max_surge_percent=0,
        # There is no second one to answer meanwhile.
        health_check_period_s=_CHECK_S,
        graceful_shutdown_timeout_s=config.replica.shutdown_timeout_s,
        max_constructor_retry_count=1,
    )
    return deployment.bind(settings)


def _running() -> GatewaySettings | None:
    """What the gateway that answers was started with."""
    application = serve.status().applications.get(GATEWAY)
    if application is None or application.status != "RUNNING":
        return None
    # It may just be going; then it is started anew.
    with contextlib.suppress(Exception):
        handle = serve.get_deployment_handle(_DEPLOYMENT, GATEWAY)
        settings: GatewaySettings = handle.settings.remote().result(timeout_s=_REPLY_S)
        return settings
    return None
