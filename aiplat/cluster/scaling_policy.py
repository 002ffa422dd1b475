"""How many replicas a model is to have where its answers must come in time."""

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from aiplat.serving.lateness import CLOSE, LATE, REQUESTS, WAITED, WINDOW_S, Lateness

if TYPE_CHECKING:
    from ray.serve.config import AutoscalingContext

# Where the 99th percentile begins.
_ALLOWED = 0.01
# Fewer are no pattern: after a quiet time one of ten that was slow would start a replica.
_MIN_LATE = 3
_MOVED_AT = "moved_at"


def report_lateness(deployment: Any, lateness: Lateness | None) -> None:
    """Have Serve ask a deployment's replica how late its requests are, where that is counted."""
    if lateness is None:
        return

    async def report() -> dict[str, float]:
        return lateness.report()

    # Not a method: Serve would ask every replica, each second.
    deployment.record_autoscaling_stats = report


def by_slo(context: "AutoscalingContext") -> tuple[float, dict[str, Any]]:
    """A policy of Ray Serve: by the load as always, and by what replicas report of being late.

    Returns the replicas that are wanted, and what is to be known the next time. Serve applies the
    limits and the delays of the deployment's configuration to it. Its controller has the function
    by its value, and may lack this package: nothing else of ours may be called here.
    """
    target, now = context.target_num_replicas, context.current_time
    by_load = context.total_num_requests / context.config.get_target_ongoing_requests()
    moved_at = context.policy_state.get(_MOVED_AT, -math.inf)
    if context.current_num_replicas != target:
        moved_at = now
    is_settled = now - moved_at > WINDOW_S
    counts = _added(context.raw_metrics or {})
    return wanted(target, by_load, counts, is_settled), {_MOVED_AT: moved_at}


def wanted(target: int, by_load: float, counts: Mapping[str, float], is_settled: bool) -> float:
    """The number of replicas that is wanted where there are, or are about to be, `target`.

    by_load: what requests in hand ask for. counts: a report of all replicas together, as of
    `Lateness`. is_settled: whether all of what it counts came after the last change of `target`;
    what was late before tells nothing of whether that change was enough.

    It doubles at most, grows by one where only lateness asks for more, and shrinks by one, never
    where the 99th percentile is close to the limit.
    """
    by_load = min(max(by_load, target - 1), 2 * max(target, 1))
    allowed = _ALLOWED * counts[REQUESTS]
    is_close = counts[CLOSE] > allowed
    is_late = counts[LATE] > allowed and counts[LATE] >= _MIN_LATE
    if is_late and counts[WAITED] < counts[LATE] / 2:
        # They would be late on any number of replicas.
        return by_load
    if is_late and is_settled:
        return max(by_load, target + 1)
    return max(by_load, target) if is_close or not is_settled else by_load


def _added(reports: Mapping[str, Mapping[Any, Iterable[Any]]]) -> dict[str, float]:
    """The latest counts of all replicas."""
    return {
        name: sum(
            series[-1].value for series in map(list, reports.get(name, {}).values()) if series
        )
        for name in (REQUESTS, CLOSE, LATE, WAITED)
    }
