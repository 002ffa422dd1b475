"""A release beside models that share processes, on a real cluster and under traffic."""

import time
from pathlib import Path

import pytest

from aiplat.cluster.session import Session
from aiplat.serving.releases.release import SUCCEEDED
from tests.cluster.test_release import Users, Versions, applications, opened, release
from tests.cluster.test_serve import send
from tests.serving.shapes import shapes_folder

# Ray Serve declares and uses its own deprecated settings.
pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


def test_a_released_model_moves_and_its_neighbour_answers_all_along(
    cluster: Session, serve_port: int, tmp_path: Path
) -> None:
    from aiplat.cluster import serve

    folder = shapes_folder(tmp_path / "shapes")
    registry = Versions({1: folder, 3: folder})
    try:
        place = opened(tmp_path, registry, serve_port, ["shapes", "others"], models_per_replica=2)
        with Users(place.url) as users, Users(place.url, model="others") as neighbours:
            report = release(place, "candidate=3", "steps=[100]", "max_latency_ratio=20")
            time.sleep(2)
        assert report.outcome.state == SUCCEEDED, report.outcome.reason
        assert users.statuses == neighbours.statuses == {200}
        assert users.answers[-1][2] == "3"
        assert {version for _, _, version in neighbours.answers} == {"1"}
        assert applications() == {"aiplat"}
        assert send(f"{place.url}/v1/models/shapes")[2]["version"] == "3"
    finally:
        serve.take_down()
