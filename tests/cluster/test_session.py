"""A cluster that this process started."""

import os

import pytest

from aiplat.cluster.session import Session

pytestmark = pytest.mark.cluster


def test_what_runs_on_a_cluster_asks_that_one_and_no_other_of_the_machine(
    cluster: Session,
) -> None:
    import ray

    @ray.remote(num_cpus=0)
    def address() -> str | None:
        return os.environ.get("RAY_ADDRESS")

    assert ray.get(address.remote()) == cluster.address
    # Of this process it is not the business: what it starts may have a cluster of its own.
    assert os.environ.get("RAY_ADDRESS") != cluster.address
