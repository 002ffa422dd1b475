"""One real local cluster for all the tests that need Ray."""

from collections.abc import Iterator

import pytest

from aiplat.cluster.scale import ClusterConfig
from aiplat.cluster.session import Session, connect


@pytest.fixture(scope="session")
def cluster() -> Iterator[Session]:
    with connect(ClusterConfig(address="local", num_cpus=2)) as session:
        yield session
