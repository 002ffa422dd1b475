"""Start or join the cluster: the one place that does, and that settles how Ray behaves.

Import modules that use Ray only inside `with connect(...)`: Ray reads several of its settings while
it is imported.
"""

import os
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiplat.cluster import haproxy
from aiplat.cluster.ports import LOCALHOST, free_ports
from aiplat.cluster.scale import ClusterConfig
from aiplat.errors import ClusterError

NAMESPACE = "aiplat"

# docs/decisions/0002 has the measurements behind these.
_SETTINGS = {
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_DATA_LOG_LEVEL": "ERROR",
    "RAY_DATA_USE_DATASOURCE_V2": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_SERVE_LOG_TO_STDERR": "0",
    # Nothing of ours blocks the loop: models and images have threads of their own.
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
    # What is printed is forwarded by us; Ray would log it a second time.
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_TRAIN_ENABLE_STATE_TRACKING": "1",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    "RAY_USAGE_STATS_ENABLED": "0",
    # A table of its own would tear ours.
    "RAY_AIR_NEW_OUTPUT": "0",
    # Trials have a log and a tracker of ours.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # The study remembers its trials: Tune's own record of them need not be exact.
    "TUNE_GLOBAL_CHECKPOINT_S": "600",
}


@dataclass(frozen=True)
class Session:
    """The cluster this process is connected to."""

    address: str
    dashboard_url: str
    started_here: bool


@contextmanager
def connect(config: ClusterConfig) -> Iterator[Session]:
    """Join the cluster of `cluster.address`, or start one on this machine, and leave it at the end.

    A cluster started here ends with the block; one that was joined is left as it was. Raises
    ClusterError where the address does not answer.
    """
    address = address_of(config)
    settle_environment()
    with ExitStack() as stack:
        if address is None:
            stack.enter_context(_own_proxy())
        try:
            context = _start(config) if address is None else _join(address)
        except (ConnectionError, RuntimeError, ValueError) as error:
            where = address or "a cluster on this machine"
            raise ClusterError(
                f"cluster.address={config.address}: cannot use {where}: {error}; "
                "start one with 'ray start --head', or set cluster.address=local"
            ) from error
        import ray

        stack.callback(ray.shutdown)
        yield Session(
            address=address or context.address_info["gcs_address"],
            dashboard_url=f"http://{context.dashboard_url}" if context.dashboard_url else "",
            started_here=address is None,
        )


def _start(config: ClusterConfig) -> Any:
    import ray

    with _own_address():
        return ray.init(
            address="local",
            namespace=NAMESPACE,
            num_cpus=config.num_cpus,
            num_gpus=config.num_gpus,
            include_dashboard=True,
            dashboard_host=LOCALHOST,
            dashboard_port=config.dashboard_port,
            logging_level="WARNING",
            # Ours say what a run does; Ray's are in its own logs and on the dashboard.
            log_to_driver=False,
        )


def _join(address: str) -> Any:
    import ray

    return ray.init(
        address=address, namespace=NAMESPACE, logging_level="WARNING", log_to_driver=False
    )


@contextmanager
def _own_proxy() -> Iterator[None]:
    """While a cluster of ours runs: what Ray Serve's proxy on it needs."""
    is_refused = os.environ.get("RAY_SERVE_ENABLE_HA_PROXY") == "0"
    if is_refused or not haproxy.is_installed():
        yield
        return
    with (
        tempfile.TemporaryDirectory(prefix="aiplat-") as folder,
        haproxy.environment(Path(folder)) as needed,
        _environment(needed),
    ):
        yield


@contextmanager
def _own_address() -> Iterator[None]:
    """While a cluster is started: tell its processes its address.

    Parts of Ray ask for "the" cluster of the machine otherwise. Where it has another, or had one
    that was killed, they wait for minutes, or take a training that runs for one that is over.
    """
    (port,) = free_ports(1)
    address = f"{_host()}:{port}"
    with _environment({"RAY_GCS_SERVER_PORT": str(port), "RAY_ADDRESS": address}):
        yield


@contextmanager
def _environment(own: Mapping[str, str]) -> Iterator[None]:
    """Variables for this process and those it starts, while the block runs."""
    before = {name: os.environ.get(name) for name in own}
    os.environ.update(own)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value


def _host() -> str:
    import ray

    return str(ray.util.get_node_ip_address())


def address_of(config: ClusterConfig) -> str | None:
    """The cluster to join; None where there is none yet, or one of its own is asked for."""
    if config.address == "local":
        return None
    if config.address != "auto":
        return config.address
    if given := os.environ.get("RAY_ADDRESS"):
        return given
    started = _started_cluster()
    return started if started and _answers(started) else None


def _started_cluster() -> str | None:
    """The address that `ray start` left behind; a killed head leaves it behind, too."""
    record = Path(os.environ.get("RAY_TMPDIR", "/tmp"), "ray", "ray_current_cluster")  # noqa: S108
    return record.read_text().strip() if record.exists() else None


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=2):
            return True
    except (OSError, ValueError):
        return False


def settle_environment() -> None:
    """Settle how Ray behaves, in this process and those it starts; before Ray is imported."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    # Left unset, Ray decides by how it was started and by what an earlier program left in the home
    # folder; a driver and a head that decided differently cannot talk. The rule of `ray start`
    # holds for all of ours: a token where one exists, none where not.
    os.environ.setdefault("RAY_AUTH_MODE", "token" if _has_token() else "disabled")
    # Workers inherit it from here, and would compile torch anew each time they start.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def _has_token() -> bool:
    if os.environ.get("RAY_AUTH_TOKEN"):
        return True
    path = os.environ.get("RAY_AUTH_TOKEN_PATH", str(Path("~/.ray/auth_token").expanduser()))
    return Path(path).is_file()
