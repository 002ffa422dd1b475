"""What a run asks the cluster for, with Ray's own book of it."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from aiplat.cluster.session import Session

pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


def test_what_a_killed_controller_asked_for_is_free_for_its_successor(
    cluster: Session, tmp_path: Path
) -> None:
    import ray
    from ray.data._internal.cluster_autoscaler.default_autoscaling_coordinator import (
        get_or_create_autoscaling_coordinator,
    )

    from aiplat.cluster.reservation import asking_anew

    coordinator = get_or_create_autoscaling_coordinator()

    def attempt(run_id: str) -> Any:
        trainer = SimpleNamespace(train_run_context=SimpleNamespace(run_id=run_id))
        return asking_anew(str(tmp_path), cast("Any", trainer))

    def ask(run_id: str) -> None:
        """As a controller does."""
        asked = coordinator.request_resources.remote(
            requester_id=f"train-{run_id}", resources=[{"CPU": 2.0}], expire_after_s=180
        )
        ray.get(asked)

    def reserved(run_id: str) -> bool:
        return bool(ray.get(coordinator.get_reserved_resources.remote(f"train-{run_id}")))

    with attempt("killed"):
        ask("killed")
    assert reserved("killed")
    with attempt("next"):
        ask("next")
        assert not reserved("killed")
        assert reserved("next")
    ray.get(coordinator.cancel_request.remote(requester_id="train-next"))
