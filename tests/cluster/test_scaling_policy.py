"""The policy on numbers, and on what Serve hands it; no cluster."""

import pickle
from dataclasses import dataclass, field
from typing import Any

import pytest

from aiplat.cluster.scaling_policy import by_slo, wanted

QUIET = {"requests": 1000, "close": 0, "late": 0, "waited": 0}
CLOSE = {"requests": 1000, "close": 11, "late": 0, "waited": 0}
WAITING = {"requests": 1000, "close": 30, "late": 11, "waited": 6}
SLOW = {"requests": 1000, "close": 900, "late": 800, "waited": 100}
OUTLIER = {"requests": 10, "close": 2, "late": 2, "waited": 2}
NOTHING = {"requests": 0, "close": 0, "late": 0, "waited": 0}


@pytest.mark.parametrize(
    ("by_load", "counts", "is_settled", "replicas"),
    [
        # In time: by the load, in bounded steps.
        (4, QUIET, True, 4),
        (4.5, QUIET, True, 4.5),
        (100, QUIET, True, 8),
        (0.2, QUIET, True, 3),
        (0, NOTHING, True, 3),
        # Late because they wait: one more, or what the load asks for.
        (1, WAITING, True, 5),
        (7, WAITING, True, 7),
        # But not again before it is known what the last step did.
        (1, WAITING, False, 4),
        (6, WAITING, False, 6),
        # Close to late: none is let go.
        (1, CLOSE, True, 4),
        (1, OUTLIER, True, 4),
        (1, QUIET, False, 4),
        # More of them would not help.
        (4, SLOW, True, 4),
        (1, SLOW, True, 3),
    ],
)
def test_replicas_that_are_wanted_of_four(
    by_load: float, counts: dict[str, float], is_settled: bool, replicas: float
) -> None:
    assert wanted(4, by_load, counts, is_settled) == replicas


def test_an_idle_model_goes_to_zero() -> None:
    assert wanted(1, 0, NOTHING, is_settled=True) == 0


@dataclass
class Point:
    value: float


@dataclass
class Limits:
    """Of the deployment."""

    def get_target_ongoing_requests(self) -> float:
        return 16


@dataclass
class Context:
    """What Serve knows of a deployment."""

    current_time: float
    current_num_replicas: int = 2
    target_num_replicas: int = 2
    total_num_requests: float = 20
    config: Limits = field(default_factory=Limits)
    raw_metrics: dict[str, dict[str, list[Point]]] = field(default_factory=dict)
    policy_state: dict[str, Any] = field(default_factory=dict)


def reports(**counts: list[float]) -> dict[str, dict[str, list[Point]]]:
    """One count a replica, after an older one."""
    return {
        name: {
            f"replica-{index}": [Point(10_000), Point(value)] for index, value in enumerate(values)
        }
        for name, values in counts.items()
    }


def test_one_replica_more_is_asked_for_until_the_window_shows_what_it_did() -> None:
    # Two of three hundred late would be no breach of one replica, three of all of them are.
    late = reports(requests=[250, 40], close=[2, 1], late=[2, 1], waited=[2, 1])
    scaled = by_slo(Context(1000, raw_metrics=late))
    assert scaled[0] == 3
    starting = Context(1005, 2, 3, 20, raw_metrics=late, policy_state=scaled[1])
    held = by_slo(starting)
    assert held[0] == 3
    running = Context(1030, 3, 3, 20, raw_metrics=late, policy_state=held[1])
    assert by_slo(running)[0] == 3
    later = Context(1036, 3, 3, 20, raw_metrics=late, policy_state=held[1])
    assert by_slo(later)[0] == 4


def test_replicas_that_have_not_reported_count_for_nothing() -> None:
    empty: dict[str, dict[str, list[Point]]] = {"requests": {"replica-0": []}}
    assert by_slo(Context(1000, raw_metrics=empty))[0] == 1.25


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_serve_takes_the_policy_and_its_controller_needs_none_of_our_modules() -> None:
    from ray.serve.config import AutoscalingConfig

    from aiplat.cluster.serve import _autoscaling, _policy
    from aiplat.serving.config import AutoscalingConfig as Ours
    from aiplat.serving.config import ServingConfig

    config = ServingConfig(autoscaling=Ours(slo_p99_ms=100))
    policy = AutoscalingConfig(**_autoscaling(config, **_policy(config))).policy
    assert b"aiplat.serving" not in policy.get_serialized_policy_def()
    assert pickle.loads(policy.get_serialized_policy_def()).__name__ == "by_slo"  # noqa: S301
    assert not _policy(ServingConfig())
