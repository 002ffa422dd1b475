"""Why a worker group ended: the cluster's fault, which is worth another try, or the code's own."""

from ray import train

from aiplat.errors import AiplatError

# What a rank meets when another one is gone.
_OF_THE_INNOCENT = ("gloo", "nccl", "connection closed by peer", "connection reset by peer")


def lost_workers(error: train.TrainingFailedError) -> str:
    """Which workers the cluster lost, in one line; raises the fault where it is the code's own."""
    failures: dict[int, Exception] = getattr(error, "worker_failures", {})
    raised = [failure for failure in failures.values() if not _is_of_ray(failure)]
    for failure in raised:
        if isinstance(failure, AiplatError):
            raise failure from None
    lost = sorted(rank for rank, failure in failures.items() if _is_of_ray(failure))
    if lost:
        return f"lost the worker{'s' if len(lost) > 1 else ''} of rank {', '.join(map(str, lost))}"
    if not raised or not all(map(_is_innocent, raised)):
        raise error
    return "the workers lost the connection to each other"


def _is_of_ray(failure: Exception) -> bool:
    """Whether Ray tells of a process that died or hangs; else the training code raised it."""
    return type(failure).__module__.partition(".")[0] == "ray"


def _is_innocent(failure: Exception) -> bool:
    text = str(failure).lower()
    return isinstance(failure, RuntimeError) and any(part in text for part in _OF_THE_INNOCENT)
