"""gRPC before an endpoint on a cluster, as a client of another project finds it."""

import base64
import dataclasses
import math
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.grpc as stock
from tritonclient.utils import InferenceServerException

from aiplat.cluster.ports import free_ports
from aiplat.cluster.session import Session
from aiplat.registry.versions import ModelVersion
from aiplat.serving.config import ServingConfig
from aiplat.serving.keys.addresses import network
from aiplat.serving.keys.key import Rights
from aiplat.serving.keys.store import KeyStore
from aiplat.serving.metering.books import BooksPlace, settle
from aiplat.store.records import open_records, records_url
from tests.serving.shapes import LABELS, picture, shapes_folder

# Ray Serve declares and uses its own deprecated settings.
pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


@pytest.fixture(scope="module")
def config(serve_port: int) -> ServingConfig:
    return ServingConfig(port=serve_port, grpc_port=free_ports(1)[0])


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> BooksPlace:
    storage = tmp_path_factory.mktemp("storage")
    return BooksPlace(str(storage / "spool"), records_url(str(storage), None))


@pytest.fixture(scope="module")
def store(books: BooksPlace) -> Iterator[KeyStore]:
    records = open_records(books.records)
    yield KeyStore(records)
    records.close()


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> ModelVersion:
    folder = shapes_folder(tmp_path_factory.mktemp("shapes"))
    return ModelVersion("shapes", 1, (), str(folder), "", "", "shapes@0123", "")


@pytest.fixture(scope="module")
def url(
    cluster: Session,
    store: KeyStore,
    version: ModelVersion,
    config: ServingConfig,
    books: BooksPlace,
) -> Iterator[str]:
    from aiplat.cluster import serve

    deployed = serve.deploy({"shapes": version}, config, books)
    assert deployed.grpc_address == f"127.0.0.1:{config.grpc_port}"
    yield deployed.url
    serve.take_down()
    assert refuses("127.0.0.1", config)


@pytest.fixture
def client(url: str, config: ServingConfig) -> Iterator[stock.InferenceServerClient]:
    with stock.InferenceServerClient(f"127.0.0.1:{config.grpc_port}") as client:
        yield client


def refuses(host: str, config: ServingConfig) -> bool:
    """Whether nobody listens on that address of this machine."""
    with socket.socket() as caller:
        return caller.connect_ex((host, config.grpc_port)) != 0


def question() -> list[stock.InferInput]:
    tensors = []
    for name, value in (("image", picture(3)), ("text", b"is it?")):
        tensors.append(stock.InferInput(name, [1], "BYTES"))
        tensors[-1].set_data_from_numpy(np.array([value], dtype=object))
    return tensors


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def refusal(client: stock.InferenceServerClient, **words: Any) -> str:
    with pytest.raises(InferenceServerException) as caught:
        client.infer("shapes", question(), **words)
    status: str = caught.value.status()
    return status


def test_a_key_gets_the_answers_of_the_plain_api_and_pays_for_them(
    client: stock.InferenceServerClient, url: str, store: KeyStore, books: BooksPlace
) -> None:
    key, text = store.create("acme", Rights(scopes=("shapes",), cidrs=(network("127.0.0.1"),)))
    row = {"image": base64.b64encode(picture(3)).decode(), "text": "is it?"}
    plain = httpx.post(
        f"{url}/v1/models/shapes:predict", json={"inputs": [row]}, headers=bearer(text)
    ).json()["predictions"][0]["probabilities"]
    result = client.infer("shapes", question(), headers=bearer(text))
    expected = np.array([[plain[label] for label in LABELS]], dtype=np.float32)
    np.testing.assert_array_equal(result.as_numpy("probabilities"), expected)
    asked = result.get_response().parameters["prediction_id"].string_param
    with closing(books.open_ledger()) as ledger:
        began = time.monotonic()
        while True:
            settle(books.folder, ledger)
            found = [r for r in ledger.records(0, math.inf) if r.prediction_id == asked]
            if found:
                break
            assert time.monotonic() - began < 10
            time.sleep(0.1)
    assert [(r.key, r.status, r.rows) for r in found] == [(key.key_id, 200, 1)]


def test_who_may_not_ask_is_told_so(client: stock.InferenceServerClient, store: KeyStore) -> None:
    assert refusal(client) == "StatusCode.UNAUTHENTICATED"
    assert refusal(client, headers=bearer("aip_k3v0q9x2ab_00ff")) == "StatusCode.UNAUTHENTICATED"
    elsewhere = store.create("acme", Rights(cidrs=(network("10.0.0.0/8"),)))[1]
    assert refusal(client, headers=bearer(elsewhere)) == "StatusCode.PERMISSION_DENIED"
    words = bearer(elsewhere) | {"x-forwarded-for": "10.1.1.1"}
    assert refusal(client, headers=words) == "StatusCode.PERMISSION_DENIED"
    once = store.create("acme", Rights(rate=0.01, burst=1))[1]
    client.infer("shapes", question(), headers=bearer(once))
    assert refusal(client, headers=bearer(once)) == "StatusCode.RESOURCE_EXHAUSTED"


def test_only_the_address_of_http_listens(url: str, config: ServingConfig) -> None:
    assert not refuses("127.0.0.1", config)
    assert refuses("127.0.0.2", config)


def test_an_update_drops_no_call(
    client: stock.InferenceServerClient,
    version: ModelVersion,
    config: ServingConfig,
    books: BooksPlace,
    store: KeyStore,
) -> None:
    from aiplat.cluster import serve

    headers = bearer(store.create("acme", Rights())[1])
    versions: list[str] = []
    failures: list[Exception] = []
    is_updated = threading.Event()

    def ask() -> None:
        while not is_updated.is_set():
            try:
                result = client.infer("shapes", question(), headers=headers)
                versions.append(result.get_response().model_version)
            except Exception as error:
                failures.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        serve.deploy({"shapes": dataclasses.replace(version, version=2)}, config, books)
    finally:
        is_updated.set()
        asking.join()
    assert failures == []
    assert versions[0] == "1"
    assert client.infer("shapes", question(), headers=headers).get_response().model_version == "2"
