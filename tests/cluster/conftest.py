"""One real local cluster for all the tests that need Ray, in each process that runs some."""

import socket
from collections.abc import Iterator
from functools import partial

import pytest

from aiplat.cluster.scale import ClusterConfig
from aiplat.cluster.session import Session, connect, settle_environment

# Tests import what uses Ray while they are collected; Ray reads its settings while it is imported.
settle_environment()


@pytest.fixture(scope="session")
def cluster() -> Iterator[Session]:
    from ray._private import parameter

    with pytest.MonkeyPatch.context() as patch:
        # Else the agents of all of them are at one port, and a cluster takes another's for its own.
        any_port = partial(parameter.RayParams, dashboard_agent_listen_port=0)
        patch.setattr(parameter, "RayParams", any_port)
        with connect(ClusterConfig(address="local", num_cpus=2)) as session:
            yield session


@pytest.fixture(scope="session")
def serve_port() -> int:
    """Where endpoints answer: Ray Serve keeps the port of its first one as long as it runs."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
