"""What is put in HAProxy's place: what Serve wrote for it is mended before each start."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aiplat.cluster import haproxy
from aiplat.cluster.processes import began
from aiplat.errors import ConfigError
from aiplat.serving.config import ServingConfig

# Ray Serve declares and uses its own deprecated settings.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

_WRITTEN = """\
global
    maxconn 4096
defaults
    mode http
    option splice-request
    option splice-response
    errorfile 502 /elsewhere/500.http
    errorfile 503 /elsewhere/500.http
frontend prometheus
    bind :{metrics}
frontend http_frontend
    bind *:8000
backend default_backend
    http-request return status 404 content-type text/plain lf-string "Path '%[path]' not found."
listen stats
  bind *:{stats}
"""


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    echo = tmp_path / "real-haproxy"
    echo.write_text('#!/bin/sh\necho "started with $*"\n')
    echo.chmod(0o700)
    monkeypatch.setattr(haproxy, "_binary", lambda: str(echo))
    with haproxy.environment(tmp_path) as needed:
        yield needed


def _written(folder: Path, started: dict[str, str]) -> Path:
    config = folder / "of a node" / "haproxy.cfg"
    config.parent.mkdir()
    config.write_text(
        _WRITTEN.format(
            metrics=started["RAY_SERVE_HAPROXY_METRICS_PORT"],
            stats=started["RAY_SERVE_HAPROXY_STATS_PORT"],
        )
    )
    return config


def _start(started: dict[str, str], *words: str) -> str:
    command = [started["RAY_SERVE_HAPROXY_BINARY_PATH"], *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_the_configuration_is_mended_once_however_often_it_starts(
    tmp_path: Path, started: dict[str, str]
) -> None:
    config = _written(tmp_path, started)
    assert _start(started, "-db", "-f", str(config)) == f"started with -db -f {config}"
    once = config.read_text()
    _start(started, "-db", "-f", str(config), "-sf", "17")
    assert config.read_text() == once
    metrics = started["RAY_SERVE_HAPROXY_METRICS_PORT"]
    stats = started["RAY_SERVE_HAPROXY_STATS_PORT"]
    assert once.splitlines() == [
        "global",
        "    maxconn 4096",
        "defaults",
        "    option forwardfor",
        "    mode http",
        "    option splice-response",
        f"    errorfile 502 {tmp_path / 'refusal.http'}",
        f"    errorfile 503 {tmp_path / 'refusal.http'}",
        "frontend prometheus",
        f"    bind 127.0.0.1:{metrics}",
        "frontend http_frontend",
        "    bind *:8000",
        "backend default_backend",
        "    http-request deny deny_status 503",
        "listen stats",
        f"    bind 127.0.0.1:{stats}",
    ]


def test_it_starts_without_a_configuration_to_tell_its_version(started: dict[str, str]) -> None:
    assert _start(started, "-v") == "started with -v"


def test_it_ends_with_the_process_that_started_it(
    tmp_path: Path, started: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = tmp_path / "waiting-haproxy"
    waits.write_text("#!/bin/sh\necho $$\nexec sleep 300\n")
    waits.chmod(0o700)
    monkeypatch.setattr(haproxy, "_binary", lambda: str(waits))
    folder = tmp_path / "watched"
    folder.mkdir()
    config = _written(tmp_path, started)
    with haproxy.environment(folder) as needed:
        script = needed["RAY_SERVE_HAPROXY_BINARY_PATH"]
        parent = subprocess.Popen(
            ["sh", "-c", f"{script} -db -f '{config}' & wait"], stdout=subprocess.PIPE, text=True
        )
    with parent:
        # What the script is called by after it has become the other.
        pid = int(parent.stdout.readline()) if parent.stdout else 0
        time.sleep(1.5)
        assert began(pid) is not None, "while the parent lives, so does it"
        parent.kill()
        deadline = time.monotonic() + 30
        while began(pid) is not None and time.monotonic() < deadline:
            time.sleep(0.1)
        assert began(pid) is None


def test_a_client_that_found_no_replica_is_told_to_come_again(
    tmp_path: Path, started: dict[str, str]
) -> None:
    del started
    head, _, body = (tmp_path / "refusal.http").read_bytes().partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "HTTP/1.1 503 Service Unavailable"
    assert "Retry-After: 1" in lines
    assert f"Content-Length: {len(body)}" in lines


def test_two_clusters_share_neither_file_nor_port(tmp_path: Path, started: dict[str, str]) -> None:
    (tmp_path / "other").mkdir()
    with haproxy.environment(tmp_path / "other") as other:
        pass
    files = [name for name, value in started.items() if value.startswith("/")]
    assert len(files) == 6
    ports = [name for name in started if name.endswith("_PORT")]
    assert len(ports) == 6
    assert not [name for name in (*files, *ports) if started[name] == other[name]]


def test_ports_of_replicas_are_a_range(started: dict[str, str]) -> None:
    first, last = (
        int(started[f"RAY_SERVE_DIRECT_INGRESS_{end}_HTTP_PORT"]) for end in ("MIN", "MAX")
    )
    assert 20_000 <= first < last < 30_000
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", int(started["RAY_SERVE_HAPROXY_METRICS_PORT"])))
    assert os.access(started["RAY_SERVE_HAPROXY_BINARY_PATH"], os.X_OK)


def test_an_address_that_it_is_not_told_rightly_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from aiplat.cluster import serve

    monkeypatch.setenv("AIPLAT_HAPROXY", "1")
    with pytest.raises(ConfigError, match=r"serve\.host=::1: .* expected such as 127\.0\.0\.1"):
        serve._start_http(ServingConfig(host="::1"))


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),  # noqa: S104
        ("10.1.2.3", "10.1.2.3"),
        ("::1", "[::1]"),
        ("::", "[::1]"),
        ("fd00::7", "[fd00::7]"),
    ],
)
def test_an_endpoint_is_asked_where_it_listens(host: str, address: str) -> None:
    from aiplat.cluster import serve

    assert serve._own_address(ServingConfig(host=host)) == address
