"""Why a worker group ended: the cluster's fault, which is worth another try, or the code's own."""

from ray import train
from ray.exceptions import RayError

from aiplat.errors import AiplatError

# What a rank meets when another one is gone.
_OF_THE_INNOCENT = ("gloo", "nccl", "connection closed by peer", "connection reset by peer")


def lost_workers(error: train.TrainingFailedError) -> str:
    """Which workers the cluster lost, in one line; raises the fault where it is the code's own."""
    failures = {
        rank: getattr(failure, "_base_exc", failure)
        for rank, failure in getattr(error, "worker_failures", {}).items()
    }
    for failure in failures.values():
        if isinstance(failure, AiplatError):
            raise failure from None
    lost = sorted(rank for rank, failure in failures.items() if isinstance(failure, RayError))
    if lost:
        ranks = ", ".join(map(str, lost))
        return f"the worker{'s' if len(lost) > 1 else ''} of rank {ranks} died"
    if any(not _is_innocent(failure) for failure in failures.values()) or not failures:
        raise error
    return "the workers lost the connection to each other"


def _is_innocent(failure: BaseException) -> bool:
    text = str(failure).lower()
    return isinstance(failure, RuntimeError) and any(part in text for part in _OF_THE_INNOCENT)
