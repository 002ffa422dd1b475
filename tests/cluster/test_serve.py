"""A model version behind HTTP on a real cluster, beside an application that is none of ours."""

import base64
import dataclasses
import http.client
import json
import math
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from email.message import Message
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http as stock

from aiplat.cluster.session import Session
from aiplat.errors import ClusterError
from aiplat.inference.predictor import Predictor
from aiplat.registry.versions import ModelVersion
from aiplat.serving.config import AutoscalingConfig, BatchingConfig, ServingConfig
from aiplat.serving.metering.account import Account
from aiplat.serving.metering.books import BooksPlace, books_place, settle
from aiplat.serving.metering.prices import PriceList
from aiplat.serving.metering.usage import UsageRecord
from tests.cluster.processes import end
from tests.serving.shapes import picture, shapes_folder

# Ray Serve declares and uses its own deprecated settings.
pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

FORM = "multipart/form-data; boundary=b"


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> ModelVersion:
    folder = shapes_folder(tmp_path_factory.mktemp("shapes"))
    return ModelVersion("shapes", 1, (), str(folder), "", "", "shapes@0123", "")


@pytest.fixture(scope="module")
def config(serve_port: int) -> ServingConfig:
    # Long enough for requests to meet in a batch however slow this machine is.
    batching = BatchingConfig(max_batch_size=8, wait_s=0.05)
    return ServingConfig(port=serve_port, auth=False, max_body_mb=0.2, batching=batching)


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> BooksPlace:
    place = books_place(str(tmp_path_factory.mktemp("storage")), None)
    place.open_ledger().close()
    return place


@pytest.fixture(scope="module")
def url(
    cluster: Session, version: ModelVersion, config: ServingConfig, books: BooksPlace
) -> Iterator[str]:
    """The address of an endpoint over version 1."""
    from aiplat.cluster import serve

    yield serve.deploy({"shapes": version}, config, books).url
    serve.take_down()


def send(
    url: str, body: bytes | None = None, content_type: str = "application/json"
) -> tuple[int, Message, Any]:
    request = urllib.request.Request(url, body, {"Content-Type": content_type})  # noqa: S310
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=60) as response:
            return response.status, response.headers, json.loads(response.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, json.loads(error.read())


def predict_url(url: str) -> str:
    return f"{url}/v1/models/shapes:predict"


def as_json(rows: list[dict[str, Any]]) -> bytes:
    encoded = [row | {"image": base64.b64encode(row["image"]).decode()} for row in rows]
    return json.dumps({"inputs": encoded}).encode()


def as_form(row: dict[str, Any]) -> bytes:
    part = b'--b\r\nContent-Disposition: form-data; name="'
    return (
        part + b'text"\r\n\r\n' + row["text"].encode() + b"\r\n"
        + part + b'image"; filename="a.png"\r\n\r\n' + row["image"] + b"\r\n--b--\r\n"
    )  # fmt: skip


def test_answers_are_those_of_the_predictor_whatever_else_is_asked(
    url: str, version: ModelVersion
) -> None:
    rows = [{"image": picture(red), "text": "is it? " * (red % 7)} for red in range(24)]
    expected = [row["probabilities"] for row in Predictor.open(Path(version.uri), "cpu")(rows)]
    cut = rows[0] | {"image": picture(0)[:-40]}

    def ask(index: int) -> tuple[int, Any]:
        # Every third request is bad, half of the others are forms.
        if index % 3 == 2:
            return send(predict_url(url), as_json([rows[index], cut]))[::2]
        if index % 2:
            return send(predict_url(url), as_form(rows[index]), FORM)[::2]
        return send(predict_url(url), as_json([rows[index]]))[::2]

    with ThreadPoolExecutor(len(rows)) as clients:
        replies = list(clients.map(ask, range(len(rows))))
    for index, (status, body) in enumerate(replies):
        if index % 3 == 2:
            assert (status, body["field"]) == (422, "inputs[1].image")
        else:
            (prediction,) = body["predictions"]
            assert prediction["probabilities"] == pytest.approx(expected[index], abs=1e-4)
    # Different rows are told apart by more than that.
    assert max(row["circle"] for row in expected) - min(row["circle"] for row in expected) > 1e-2


def test_what_is_wrong_is_answered_by_problems_and_the_endpoint_stays_ready(url: str) -> None:
    unknown = send(f"{url}/v1/models/shape:predict", b"{}")
    assert (unknown[0], unknown[1]["Content-Type"]) == (404, "application/problem+json")
    neither = send(predict_url(url), b'{"inputs": [{}]}')
    assert (neither[0], neither[2]["field"]) == (422, "inputs[0]")
    large = send(predict_url(url), b"[" * 300_000)
    assert (large[0], large[2]["type"]) == (413, "urn:aiplat:problem:body-too-large")
    example = send(f"{url}/v1/models/shapes")[2]["example"]
    status, headers, _ = send(predict_url(url), json.dumps(example).encode())
    assert status == 200
    assert len(headers.get_all("X-Request-Id", [])) == 1
    assert send(f"{url}/readyz")[2] == {"status": "ready", "models": {"shapes": True}}


def test_a_stock_client_gets_the_answers_of_the_plain_api(url: str) -> None:
    rows = [{"image": picture(red), "text": "is it?"} for red in (3, 200)]
    plain = send(predict_url(url), as_json(rows))[2]["predictions"]
    with stock.InferenceServerClient(url.removeprefix("http://")) as client:
        assert client.is_model_ready("shapes")
        inputs = []
        for name in rows[0]:
            item = stock.InferInput(name, [len(rows)], "BYTES")
            item.set_data_from_numpy(np.array([row[name] for row in rows], dtype=object))
            inputs.append(item)
        reply = client.infer("shapes", inputs)
    names = json.loads(reply.get_output("probabilities")["parameters"]["labels"])
    expected = [[row["probabilities"][name] for name in names] for row in plain]
    assert reply.as_numpy("probabilities") == pytest.approx(np.array(expected), abs=1e-4)
    assert [label.decode() for label in reply.as_numpy("label")] == [row["label"] for row in plain]


def told_to_prometheus() -> str:
    """The metrics of this machine's node."""
    import ray

    (node,) = (node for node in ray.nodes() if node["Alive"])
    address = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(address, timeout=30) as response:
        text: str = response.read().decode()
    return text


def test_prometheus_is_told_of_requests_and_passes(url: str) -> None:
    body = as_json([{"image": picture(3), "text": "is it?"}] * 3)
    assert send(predict_url(url), body)[0] == 200
    requests = re.compile(r'^ray_aiplat_requests_total\{.*status="200".*\} [1-9]', re.MULTILINE)
    passes = re.compile(r'^ray_aiplat_batch_rows_count\{.*model="shapes".*\} [1-9]', re.MULTILINE)

    def is_told() -> bool:
        text = told_to_prometheus()
        return bool(requests.search(text) and passes.search(text))

    assert waited(is_told)


class Asking:
    """Two clients that ask without end, until the block does."""

    def __init__(self, url: str) -> None:
        self.url, self.body = url, as_json([{"image": picture(3), "text": "is it?"}])
        self.answered: list[str] = []
        self.is_over = threading.Event()
        self.clients = ThreadPoolExecutor(2)

    def __enter__(self) -> "Asking":
        for _ in range(2):
            self.clients.submit(self.ask)
        return self

    def __exit__(self, *_: object) -> None:
        self.is_over.set()
        self.clients.shutdown()

    def ask(self) -> None:
        while not self.is_over.is_set():
            # Its process was killed with the request; Serve's own word on that is no JSON.
            with suppress(OSError, http.client.HTTPException, ValueError):
                status, headers, _ = send(predict_url(self.url), self.body)
                if status == 200:
                    self.answered.append(str(headers["X-Prediction-Id"]))

    def goes_on(self) -> bool:
        """Whether further requests are answered."""
        known = len(self.answered)
        return waited(lambda: len(self.answered) > known + 20)


def test_the_books_close_though_replicas_and_endpoint_are_killed(
    url: str, version: ModelVersion, config: ServingConfig, books: BooksPlace
) -> None:
    from aiplat.cluster import serve

    with Asking(url) as asking:
        assert asking.goes_on()
        end("ServeReplica:aiplat:endpoint")
        assert asking.goes_on()
        # The same with the model in a process of its own.
        serve.deploy({"shapes": version}, dataclasses.replace(config, colocate=False), books)
        for deployment in ("model-shapes", "endpoint"):
            assert asking.goes_on()
            end(f"ServeReplica:aiplat:{deployment}")
        assert asking.goes_on()
    with closing(books.open_ledger()) as ledger:

        def is_complete() -> bool:
            settle(books.folder, ledger)
            known = {record.prediction_id for record in ledger.records(0, math.inf)}
            return known >= set(asking.answered)

        assert waited(is_complete), "the record of an answered request is lost"
        # None of them can be there twice: its id is the table's key.
        records = list(ledger.records(0, math.inf))
        minutes = ledger.replica_minutes(0, time.time() + 60)
    assert all(record.compute_s > 0 for record in records if record.status == 200)
    assert len({minute.replica for minute in minutes}) == 4
    found = Account(PriceList()).add(records).reconciled(minutes)
    assert found.closes, found
    assert 0 < found.attributed_s < found.replica_s


def waited(true: Callable[[], object], seconds: float = 60) -> bool:
    """Whether it becomes true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if true():
            return True
        time.sleep(0.2)
    return False


def test_an_update_drops_no_request(
    url: str, version: ModelVersion, config: ServingConfig, books: BooksPlace
) -> None:
    from aiplat.cluster import serve

    body = as_json([{"image": picture(3), "text": "is it?"}])
    replies: list[tuple[int, str | None]] = []
    is_updated = threading.Event()

    def ask() -> None:
        while not is_updated.is_set():
            status, headers, _ = send(predict_url(url), body)
            replies.append((status, headers["X-Model-Version"]))

    with ThreadPoolExecutor(4) as clients:
        asking = [clients.submit(ask) for _ in range(4)]
        try:
            serve.deploy({"shapes": dataclasses.replace(version, version=2)}, config, books)
            assert send(f"{url}/v1/models/shapes")[2]["version"] == "2"
        finally:
            is_updated.set()
    for client in asking:
        client.result()
    assert {status for status, _ in replies} == {200}
    assert "1" in {number for _, number in replies}
    assert send(predict_url(url), body)[1]["X-Model-Version"] == "2"


def test_an_update_that_fails_leaves_what_answers_and_taking_down_leaves_the_others(
    url: str, version: ModelVersion, config: ServingConfig, books: BooksPlace
) -> None:
    from ray import serve as ray_serve

    from aiplat.cluster import serve

    class Stranger:
        def __call__(self) -> str:
            return "still here"

    deployment = ray_serve.deployment(Stranger, ray_actor_options={"num_cpus": 0})
    stranger = ray_serve.run(deployment.bind(), name="stranger", route_prefix=None)
    with pytest.raises(ClusterError, match="cannot move"):
        serve.deploy({"shapes": version}, dataclasses.replace(config, port=config.port + 1), books)
    gone = dataclasses.replace(version, uri=f"{version.uri}-gone")
    with pytest.raises(
        ClusterError, match=r"^the models cannot be served: model-shapes: the files .* gone"
    ):
        serve.deploy({"shapes": gone}, config, books)
    assert send(predict_url(url), as_json([{"image": picture(3), "text": "is it?"}]))[0] == 200
    assert serve.take_down()
    assert not serve.take_down()
    assert stranger.remote().result() == "still here"
    ray_serve.delete("stranger")


@pytest.mark.parametrize("colocate", [True, False])
def test_a_client_that_leaves_takes_its_rows_along(
    cluster: Session,
    version: ModelVersion,
    config: ServingConfig,
    books: BooksPlace,
    colocate: bool,
) -> None:
    from aiplat.cluster import serve

    # Rows wait until there are eight.
    batching = BatchingConfig(max_batch_size=8, wait_s=30)
    patient = dataclasses.replace(config, colocate=colocate, batching=batching)
    began_at = time.time()
    url = serve.deploy({"shapes": version}, patient, books).url
    try:
        body = as_json([{"image": picture(3), "text": "is it?"}])
        leaving = http.client.HTTPConnection(url.removeprefix("http://"))
        kind = {"Content-Type": "application/json"}
        leaving.request("POST", "/v1/models/shapes:predict", body, kind)
        time.sleep(2)
        leaving.close()
        with closing(books.open_ledger()) as ledger:

            def left() -> list[UsageRecord]:
                records = ledger.records(began_at, math.inf)
                return [record for record in records if record.status == 499]

            assert waited(left, 20), "nobody noticed that the client left"
            (record,) = left()
        assert (record.rows, record.compute_s, record.replica) == (1, 0, "")
        # Were the row still there, the last one of these would wait in vain.
        asked_at = time.monotonic()
        assert send(predict_url(url), as_json([{"image": picture(3), "text": "so?"}] * 8))[0] == 200
        assert time.monotonic() - asked_at < batching.wait_s / 2
    finally:
        serve.take_down()


def test_requests_that_wait_too_long_start_another_replica(
    cluster: Session,
    version: ModelVersion,
    config: ServingConfig,
    books: BooksPlace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from aiplat.cluster import serve

    # How long it waits for what its last step did: Serve gets the policy as it is here.
    monkeypatch.setattr("aiplat.cluster.scaling_policy.WINDOW_S", 1)
    # The load asks for no more; each request waits for others longer than it may take.
    scaling = AutoscalingConfig(
        target_ongoing_requests=1000, upscale_delay_s=0, downscale_delay_s=0, slo_p99_ms=30
    )
    late = dataclasses.replace(config, autoscaling=scaling)
    url = serve.deploy({"shapes": version}, late, books).url
    try:
        with Asking(url):
            assert waited(lambda: num_replicas("endpoint") == 2)
    finally:
        serve.take_down()


def num_replicas(deployment: str) -> int:
    """Replicas of a deployment that run."""
    from ray import serve as ray_serve

    application = ray_serve.status().applications["aiplat"]
    return application.deployments[deployment].replica_states.get("RUNNING", 0)
