"""What a run asks the cluster for, so that it can ask anew after it lost its controller or a node.

Ray keeps a request for three minutes after who made it was killed, and an elastic group waits for
that long to get what only its own dead request holds. It also counts on a dead node until it looks
at the cluster again, every twenty seconds. Ray Train has no call for either; this uses what its
controllers use themselves.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import ray
from ray.data._internal.cluster_autoscaler.default_autoscaling_coordinator import (
    get_or_create_autoscaling_coordinator,
)
from ray.exceptions import RayError
from ray.train.torch import TorchTrainer

from aiplat.store import files

_FILE = "reservation.json"
_TIMEOUT_S = 5.0
_LOOK_EVERY_S = 2.0
# By then Ray has noticed which nodes are dead.
_LOOK_FOR_S = 60.0


@contextmanager
def asking_anew(run_dir: str, trainer: TorchTrainer) -> Iterator[None]:
    """While `trainer` trains: what an earlier attempt of the run asked for is withdrawn.

    If there was one, the cluster is looked at often in the first minute.
    """
    path = files.join(run_dir, _FILE)
    earlier = files.read_json(path)["requester"] if files.exists(path) else None
    requester = f"train-{trainer.train_run_context.run_id}"
    files.write_json(path, {"requester": requester})
    if earlier is None:
        yield
        return
    coordinator, is_over = get_or_create_autoscaling_coordinator(), threading.Event()
    # Where it cannot be reached, the request ends by itself, later.
    with suppress(RayError):
        ray.get(coordinator.cancel_request.remote(requester_id=earlier), timeout=_TIMEOUT_S)
    threading.Thread(
        target=_look_often, args=(coordinator, requester, is_over), daemon=True
    ).start()
    try:
        yield
    finally:
        is_over.set()


def _look_often(coordinator: Any, requester: str, is_over: threading.Event) -> None:
    until = time.monotonic() + _LOOK_FOR_S
    while not is_over.wait(_LOOK_EVERY_S) and time.monotonic() < until:
        with suppress(RayError):
            look = coordinator.get_reserved_resources.remote(requester, recompute=True)
            ray.get(look, timeout=_TIMEOUT_S)
