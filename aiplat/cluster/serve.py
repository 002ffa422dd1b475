"""Model versions as deployments of one Ray Serve application: an HTTP endpoint over model replicas.

Serve's REST API replaces whatever runs on the cluster; `deploy` and `take_down` touch this one
application only.
"""

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import httpx
from ray import serve
from ray.serve.config import RequestRouterConfig

from aiplat.cluster import haproxy
from aiplat.cluster.applications import quieten, wait_until_ready
from aiplat.cluster.gateway import end_gateway, start_gateway
from aiplat.cluster.packed import PACKED, PackedReplica
from aiplat.cluster.replicas import (
    APPLICATION,
    CANDIDATES,
    ENDPOINT,
    Endpoint,
    ModelReplica,
    deployment_name,
)
from aiplat.errors import ClusterError, ConfigError
from aiplat.registry.versions import ModelVersion
from aiplat.serving.config import ServingConfig
from aiplat.serving.metering.books import BooksPlace
from aiplat.serving.served import ModelInfo

# The endpoint only waits for models; its own limit must never be the one that is met.
_MAX_ENDPOINT_REQUESTS = 1000
_ENDPOINT_TARGET_REQUESTS = 64
# Requests that wait for a model to start are no work that another endpoint could take over, and one
# that starts beside the model takes the processor from it.
_ENDPOINT_UPSCALE_DELAY_S = 30.0
_MAX_START_TRIES = 2
_POLL_S = 0.1
_PROXY_S = 30.0


@dataclass(frozen=True)
class Deployed:
    """An endpoint that answers, and the models behind it.

    grpc_address: host and port; None: it does not answer gRPC.
    """

    url: str
    models: tuple[ModelInfo, ...]
    grpc_address: str | None


def deploy(
    models: Mapping[str, ModelVersion], config: ServingConfig, books: BooksPlace
) -> Deployed:
    """Serve model versions by name, or update what is served, and wait until all is ready.

    What the application served before keeps answering meanwhile. books: where API keys are, and
    what requests use is written down. Raises ClusterError where the
    replicas do not come up; a first deployment is then taken down again.
    """
    quieten()
    url = _start_http(config)
    running = serve.status().applications.get(APPLICATION)
    is_new = running is None
    if running is not None and config.colocate is None and set(running.deployments) - {ENDPOINT}:
        # Serve would end the models' processes before the last endpoint that asks them.
        config = replace(config, colocate=False)
    try:
        # First, since its port may be taken.
        gateway = start_gateway(config, url)
        application = application_of(models, config, books, gateway.secret if gateway else None)
        target = serve.RunTarget(application, name=APPLICATION, route_prefix="/")
        serve.run_many([target], wait_for_applications_running=False)
        wait_until_ready(config)
        _wait_until_reached(url)
        infos = tuple(describe(name) for name in models)
        grpc_address = f"{_own_address(config)}:{gateway.port}" if gateway else None
        return Deployed(url, infos, grpc_address)
    except BaseException:
        if is_new:
            take_down()
        raise


def _wait_until_reached(url: str) -> None:
    """Return when the proxy knows of the endpoint, which it learns a moment after it is ready."""
    deadline = time.monotonic() + _PROXY_S
    with httpx.Client(trust_env=False, timeout=_PROXY_S) as client:
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.HTTPError):
                if client.get(f"{url}/healthz").status_code == httpx.codes.OK:
                    return
            time.sleep(_POLL_S)
    raise ClusterError(f"the endpoint is ready, but {url} has not answered for {_PROXY_S:g} s")


def describe(name: str) -> ModelInfo:
    """What a model of the endpoint takes and answers, as the endpoint knows it."""
    handle = serve.get_deployment_handle(ENDPOINT, APPLICATION)
    info: ModelInfo = handle.describe.remote(name).result()
    return info


def take_down() -> bool:
    """Delete the application, its gateway, and candidates that a release left.

    Returns whether the application was there.
    """
    quieten()
    end_gateway()
    running = serve.status().applications
    for name in running:
        if name == APPLICATION or name.startswith(CANDIDATES):
            serve.delete(name)
    return APPLICATION in running


def _start_http(config: ServingConfig) -> str:
    """Start Serve where it does not run yet. Returns its URL, which it keeps while it runs."""
    if ":" in config.host and haproxy.is_in_front():
        raise ConfigError(
            f"serve.host={config.host}: HAProxy, by which this cluster answers, is given IPv4 "
            "addresses alone by Ray Serve: expected such as 127.0.0.1 or 0.0.0.0, or start with "
            "RAY_SERVE_ENABLE_HA_PROXY=0 in the environment"
        )
    # Serve tells the address it listens on nowhere else.
    from ray.serve.context import _get_global_client

    running = _get_global_client(raise_if_no_controller_running=False)
    if running is None:
        try:
            serve.start(http_options={"host": config.host, "port": config.port})
        except RuntimeError as error:
            # Half of it runs by now and would keep the address that does not work.
            serve.shutdown()
            raise ClusterError(
                f"Ray Serve cannot listen on {config.host}:{config.port} ({_last_line(error)}): "
                "set serve.port to a free one"
            ) from error
    elif (running.http_config.host, running.http_config.port) != (config.host, config.port):
        raise ClusterError(
            f"serve.host and serve.port are {config.host}:{config.port}, but Ray Serve already "
            f"listens on {running.http_config.host}:{running.http_config.port} of this cluster and "
            "cannot move: set them so, or end Serve and all it serves with 'serve shutdown'"
        )
    return f"http://{_own_address(config)}:{config.port}"


def _own_address(config: ServingConfig) -> str:
    """Where processes of the same machine reach the endpoint."""
    anywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
    host = anywhere.get(config.host, config.host)
    return f"[{host}]" if ":" in host else host


def application_of(
    models: Mapping[str, ModelVersion],
    config: ServingConfig,
    books: BooksPlace,
    gateway_secret: str | None = None,
) -> serve.Application:
    """The endpoint over model versions by name, as Ray Serve runs it.

    gateway_secret: what the gateway of gRPC is known by; None: there is none.
    """
    if config.is_colocated(len(models)):
        ((name, version),) = models.items()
        return _colocated(name, version, config, books, gateway_secret)
    if config.models_per_replica is None:
        handles = {
            name: model_application(name, version, config, books)
            for name, version in models.items()
        }
    else:
        handles = dict.fromkeys(models, _packed(config.models_per_replica, models, config, books))
    endpoint = serve.deployment(
        serve.ingress()(Endpoint),
        name=ENDPOINT,
        ray_actor_options={"num_cpus": 0},
        max_ongoing_requests=_MAX_ENDPOINT_REQUESTS,
        autoscaling_config=_autoscaling(
            config,
            min_replicas=1,
            target_ongoing_requests=_ENDPOINT_TARGET_REQUESTS,
            upscale_delay_s=max(_ENDPOINT_UPSCALE_DELAY_S, config.autoscaling.upscale_delay_s),
        ),
        max_surge_percent=100,
        **_lifetime(config),
    )
    numbers = {name: str(version.version) for name, version in models.items()}
    return endpoint.bind(numbers, handles, config, books, gateway_secret)


def _colocated(
    name: str,
    version: ModelVersion,
    config: ServingConfig,
    books: BooksPlace,
    gateway_secret: str | None,
) -> serve.Application:
    # It needs torch, which an endpoint over other processes does without.
    from aiplat.cluster.colocated import ColocatedEndpoint

    deployment = serve.deployment(
        serve.ingress()(ColocatedEndpoint), name=ENDPOINT, **_computing(config)
    )
    return deployment.bind(name, version, config, books, gateway_secret)


def model_application(
    name: str, version: ModelVersion, config: ServingConfig, books: BooksPlace
) -> serve.Application:
    """The replicas of one model."""
    deployment = serve.deployment(ModelReplica, name=deployment_name(name), **_computing(config))
    return deployment.bind(name, version, config, books)


def _packed(
    num_models: int, models: Mapping[str, ModelVersion], config: ServingConfig, books: BooksPlace
) -> serve.Application:
    router = RequestRouterConfig(
        request_router_class="aiplat.cluster.packed_router:PackedRouter",
        # More than autoscaling wants on a replica, or than one pass takes, are quicker on another.
        request_router_kwargs={
            "few_requests": min(
                config.autoscaling.target_ongoing_requests, config.batching.max_batch_size
            )
        },
    )
    deployment = serve.deployment(
        PackedReplica, name=PACKED, request_router_config=router, **_computing(config)
    )
    return deployment.bind(num_models, models, config, books)


def _computing(config: ServingConfig) -> dict[str, Any]:
    """The settings of a deployment whose replicas compute."""
    return dict(
        ray_actor_options={
            "num_cpus": config.replica.num_cpus,
            "num_gpus": config.replica.num_gpus,
        },
        # The replica refuses by itself. Serve's router would wait, for longer and longer, before it
        # offers the next request to one that was full, and give it ten a second. Where models share
        # replicas, one that is asked a lot would also keep the others' requests from theirs.
        max_ongoing_requests=config.max_in_hand + _MAX_ENDPOINT_REQUESTS,
        max_queued_requests=config.max_queued_requests,
        autoscaling_config=_autoscaling(config, **_policy(config)),
        max_surge_percent=config.replica.max_surge_percent,
        **_lifetime(config),
    )


def _autoscaling(config: ServingConfig, **changes: Any) -> dict[str, Any]:
    scaling = config.autoscaling
    return {
        "min_replicas": scaling.min_replicas,
        "max_replicas": scaling.max_replicas,
        "target_ongoing_requests": scaling.target_ongoing_requests,
        "upscale_delay_s": scaling.upscale_delay_s,
        "downscale_delay_s": scaling.downscale_delay_s,
        # With the default of 10 s a model that was let go takes that much longer to come back, and
        # with 30 s of looking back the delays above would hardly matter.
        "metrics_interval_s": 1,
        "look_back_period_s": 5,
        **changes,
    }


def _policy(config: ServingConfig) -> dict[str, Any]:
    """Serve's own, which is by the load, where there is no limit to keep."""
    if config.autoscaling.slo_p99_ms is None:
        return {}
    return {"policy": {"policy_function": "aiplat.cluster.scaling_policy:by_slo"}}


def _lifetime(config: ServingConfig) -> dict[str, Any]:
    return {
        "graceful_shutdown_timeout_s": config.replica.shutdown_timeout_s,
        "max_constructor_retry_count": _MAX_START_TRIES,
    }


def _last_line(error: Exception) -> str:
    """What a remote error says, without the remote traceback before it."""
    return str(error).strip().splitlines()[-1]
