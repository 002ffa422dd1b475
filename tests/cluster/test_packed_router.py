"""Which replica is asked for one of many models, without a cluster."""

from dataclasses import dataclass
from typing import Any

import pytest

# Ray Serve declares and uses its own deprecated settings.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@dataclass(frozen=True)
class Named:
    """A replica as far as it is looked at."""

    replica_id: str


A, B, C, D = map(Named, "abcd")


def preferred(model: str, having: list[Named], lacking: list[Named], busy: str) -> list[list[Any]]:
    """The groups that are asked, of replicas that have the model and others with few models."""
    from aiplat.cluster.packed_router import preferred

    ranks: Any = [having, lacking, []]
    busy_by_id: Any = {each.replica_id: each.replica_id in busy for each in (A, B, C, D)}
    return [group for group in preferred(model, ranks, busy_by_id) if group]


def test_a_request_goes_where_its_model_is() -> None:
    assert preferred("m", [A, B], [C, D], busy="")[0] == [A, B]
    assert preferred("m", [A, B], [C, D], busy="a")[0] == [B]


def test_a_busy_model_is_loaded_where_there_is_time_for_it() -> None:
    assert preferred("m", [A], [B, C], busy="ab")[0] == [C]
    # Somebody must answer where the first does not.
    assert preferred("m", [A], [B, C], busy="ab")[1:] == [[A], [B, C]]


def test_where_nobody_has_time_nothing_is_loaded() -> None:
    assert preferred("m", [A], [B, C, D], busy="abcd")[0] == [A]
    assert preferred("m", [], [B, C, D], busy="abcd") == [[B, C, D]]


def test_requests_that_come_at_once_load_a_model_in_one_place_and_models_spread() -> None:
    models = [f"m{number}" for number in range(100)]
    firsts = [preferred(model, [], [A, B, C, D], busy="")[0] for model in models]
    assert firsts == [preferred(model, [], [D, B, A, C], busy="")[0] for model in models]
    assert all(firsts.count([each]) > 10 for each in (A, B, C, D))
