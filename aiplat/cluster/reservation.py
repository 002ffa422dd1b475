"""What a run asked the cluster for, so that it can ask anew after its controller died.

Ray keeps a request for three minutes after who made it was killed, and an elastic group waits for
that long to get what only its own dead request holds. Ray Train has no call that withdraws one;
this uses what its controllers use when they end in order.
"""

import ray
from ray.data._internal.cluster_autoscaler.default_autoscaling_coordinator import (
    get_or_create_autoscaling_coordinator,
)
from ray.exceptions import RayError
from ray.train.torch import TorchTrainer

from aiplat.store import files

_FILE = "reservation.json"
_TIMEOUT_S = 5.0


def ask_anew(run_dir: str, trainer: TorchTrainer) -> None:
    """Withdraw what an earlier attempt of the run asked for; remember what `trainer` will."""
    path = files.join(run_dir, _FILE)
    if files.exists(path):
        _withdraw(files.read_json(path)["requester"])
    files.write_json(path, {"requester": f"train-{trainer.train_run_context.run_id}"})


def _withdraw(requester: str) -> None:
    coordinator = get_or_create_autoscaling_coordinator()
    try:
        ray.get(coordinator.cancel_request.remote(requester_id=requester), timeout=_TIMEOUT_S)
    except RayError:
        # Then it ends by itself, later.
        return
