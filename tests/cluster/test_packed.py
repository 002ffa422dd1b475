"""Several models in one process, by itself and on a real cluster."""

import asyncio
import math
import re
import shutil
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from aiplat.cluster.session import Session
from aiplat.errors import ClusterError
from aiplat.inference.predictor import Predictor
from aiplat.registry.versions import ModelVersion
from aiplat.serving.config import AutoscalingConfig, ReplicaConfig, ServingConfig
from aiplat.serving.metering.account import Account
from aiplat.serving.metering.books import BooksPlace, books_place, settle
from aiplat.serving.metering.prices import PriceList
from aiplat.serving.served import Answers, OverloadError
from tests.cluster.test_serve import as_json, send, told_to_prometheus, waited
from tests.serving.shapes import picture, shapes_folder

if TYPE_CHECKING:
    from aiplat.cluster.packed import PackedReplica

# Ray Serve declares and uses its own deprecated settings.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

NAMES = ("circles", "squares", "triangles")
ROWS = [{"image": picture(3), "text": "is it?"}]


@pytest.fixture
def versions(tmp_path: Path) -> dict[str, ModelVersion]:
    """Three models, each with files of its own."""
    folder = shapes_folder(tmp_path / "shapes")
    return {
        name: ModelVersion(
            name, number, (), str(shutil.copytree(folder, tmp_path / name)), "", "", "", ""
        )
        for number, name in enumerate(NAMES, start=4)
    }


@pytest.fixture
def books(tmp_path: Path) -> BooksPlace:
    place = books_place(str(tmp_path / "storage"), None)
    place.open_ledger().close()
    return place


@pytest.fixture
def packed(
    versions: dict[str, ModelVersion], books: BooksPlace, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., "PackedReplica"]:
    """Makes a process of the models that keeps all it has opened, as there is no Serve."""
    from aiplat.cluster import packed

    # It is for a process that has nobody else's log.
    monkeypatch.setattr(packed, "log_with_serve", lambda: None)

    def make(**settings: Any) -> packed.PackedReplica:
        config = ServingConfig(models_per_replica=3, **settings)
        made = packed.PackedReplica(3, versions, config, books)
        opened: dict[str, Any] = {}

        async def load(name: str) -> Any:
            if name not in opened:
                opened[name] = await made.open(name)
            return opened[name]

        made.load = load
        return made

    return make


def test_a_model_that_cannot_be_loaded_is_named_and_the_others_answer(
    packed: Callable[..., "PackedReplica"],
    versions: dict[str, ModelVersion],
    caplog: pytest.LogCaptureFixture,
) -> None:
    replica = packed()
    shutil.rmtree(versions["squares"].uri)

    async def scene() -> list[Any]:
        asked = [replica.answer(name, ROWS, "r") for name in (*NAMES, "squares")]
        later = replica.answer("squares", ROWS, "r")
        return [*await asyncio.gather(*asked), await later]

    circles, *squares = asyncio.run(scene())
    triangles = squares.pop(1)
    assert [reply.version for reply in (circles, triangles)] == ["4", "6"]
    for reply in squares:
        assert isinstance(reply, OverloadError)
        assert str(reply) == "squares cannot be loaded just now"
    # One try for all three.
    (told,) = (record for record in caplog.records if record.name == "aiplat.cluster.packed")
    assert told.exc_info
    assert re.match("squares:5 cannot be loaded: the files of", str(told.exc_info[1]))


def test_a_process_does_not_start_without_one_of_its_models(
    packed: Callable[..., "PackedReplica"], versions: dict[str, ModelVersion]
) -> None:
    shutil.rmtree(versions["squares"].uri)
    with pytest.raises(ClusterError, match=r"^squares:5 cannot be loaded: the files of"):
        packed()


def test_a_model_that_loads_for_too_long_makes_room_for_others(
    packed: Callable[..., "PackedReplica"],
) -> None:
    replica = packed(start_timeout_s=1e-4)
    with pytest.raises(ClusterError, match=r"circles:4 cannot be loaded: .* than 0.0001 s"):
        asyncio.run(replica.open("circles"))


def test_a_client_that_leaves_ends_no_load_and_too_many_that_wait_are_refused(
    packed: Callable[..., "PackedReplica"],
) -> None:
    replica = packed(max_queued_requests=1)
    load, is_over = replica.load, asyncio.Event()
    loads: list[str] = []

    async def slow(name: str) -> Any:
        loads.append(name)
        await is_over.wait()
        return await load(name)

    replica.load = slow

    async def scene() -> list[Any]:
        # Two batches of 16 are worked on, and one waits.
        asked = [asyncio.ensure_future(replica.answer("circles", ROWS, "r")) for _ in range(35)]
        await asyncio.sleep(0)
        asked[0].cancel()
        await asyncio.sleep(0)
        is_over.set()
        return await asyncio.gather(*asked, return_exceptions=True)

    left, *others = asyncio.run(scene())
    assert isinstance(left, asyncio.CancelledError)
    assert [type(reply) for reply in others] == [Answers] * 32 + [OverloadError] * 2
    assert set(loads) == {"circles"}


class Handle:
    """A handle that says which model it is for."""

    def __init__(self, model: str = "") -> None:
        self.model = model

    def options(self, multiplexed_model_id: str) -> "Handle":
        return Handle(multiplexed_model_id)


def test_only_the_models_of_the_endpoint_share_replicas(
    versions: dict[str, ModelVersion], books: BooksPlace
) -> None:
    from aiplat.cluster.packed import PackedReplica
    from aiplat.cluster.replicas import Endpoint, ModelReplica, handle_of
    from aiplat.cluster.serve import application_of, model_application

    config = ServingConfig(models_per_replica=2)
    handle: Any = Handle()
    assert handle_of("squares", handle, config).model == "squares"
    assert handle_of("squares", handle, ServingConfig()) is handle
    endpoint: Any = application_of(versions, config, books)._bound_deployment
    assert issubclass(endpoint.func_or_class, Endpoint)
    (shared,) = set(endpoint.init_args[1].values())
    assert shared._bound_deployment.func_or_class is PackedReplica
    # What a release tries is an application of its own, and its process is asked for one model.
    candidate: Any = model_application("squares", versions["squares"], config, books)
    assert candidate._bound_deployment.func_or_class is ModelReplica


@pytest.mark.cluster
def test_models_share_a_process_that_holds_one_at_a_time(
    cluster: Session, serve_port: int, versions: dict[str, ModelVersion], books: BooksPlace
) -> None:
    from aiplat.cluster import serve

    config = ServingConfig(
        port=serve_port,
        auth=False,
        models_per_replica=1,
        autoscaling=AutoscalingConfig(max_replicas=1),
        replica=ReplicaConfig(num_cpus=0.5),
    )
    (expected,) = Predictor.open(Path(versions["circles"].uri), "cpu")(ROWS)
    deployed = serve.deploy(versions, config, books)
    answered = {}
    try:
        assert [(info.name, info.version) for info in deployed.models] == list(
            zip(NAMES, "456", strict=True)
        )
        for name in NAMES * 2:
            status, headers, body = send(f"{deployed.url}/v1/models/{name}:predict", as_json(ROWS))
            assert (status, headers["X-Model-Version"]) == (200, str(versions[name].version))
            (answer,) = body["predictions"]
            assert answer["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-4)
            answered[headers["X-Prediction-Id"]] = name
        assert set(send(f"{deployed.url}/readyz")[2]["models"].values()) == {True}
        # Each was loaded again when it was asked after the others.
        loads = re.compile(r"^ray_serve_multiplexed_models_load_counter\w*\{.*\} 6", re.MULTILINE)
        assert waited(lambda: loads.search(told_to_prometheus()))
    finally:
        serve.take_down()
    with closing(books.open_ledger()) as ledger:

        def is_complete() -> bool:
            settle(books.folder, ledger)
            return {record.prediction_id for record in ledger.records(0, math.inf)} >= set(answered)

        assert waited(is_complete)
        records = list(ledger.records(0, math.inf))
        minutes = ledger.replica_minutes(0, time.time() + 60)
    assert {record.prediction_id: record.endpoint for record in records} == answered
    assert len({record.replica for record in records}) == 1
    found = Account(PriceList()).add(records).reconciled(minutes)
    assert found.closes, found
    assert 0 < found.attributed_s < found.replica_s
