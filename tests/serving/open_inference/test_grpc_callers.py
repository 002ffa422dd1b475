"""Whoever asks by gRPC is let in, counted and written down as over HTTP."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import grpc
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from aiplat.serving.app import create_app
from aiplat.serving.config import ServingConfig
from aiplat.serving.keys.addresses import network
from aiplat.serving.keys.gate import KeyGate
from aiplat.serving.keys.key import Rights
from aiplat.serving.keys.known import KnownKeys
from aiplat.serving.keys.store import KeyStore
from aiplat.serving.metering.usage import UsageRecord
from aiplat.serving.middleware import CALLER_HEADER, BehindGateway
from aiplat.store.records import open_records, records_url
from tests.serving.calling import SECRET, calling
from tests.serving.conftest import LocalModel
from tests.serving.running import running

Code = grpc.StatusCode


@dataclass
class Endpoint:
    """An endpoint that asks for keys, and its gateway."""

    store: KeyStore
    records: list[UsageRecord]
    stub: service_pb2_grpc.GRPCInferenceServiceStub

    def key(self, rights: Rights | None = None) -> str:
        return self.store.create("acme", rights or Rights())[1]

    def ask(self, request: object, **metadata: str) -> grpc.StatusCode:
        """The code of an infer call."""
        given = tuple((name.replace("_", "-"), value) for name, value in metadata.items())
        try:
            self.stub.ModelInfer(request, timeout=30, metadata=given)
        except grpc.RpcError as error:
            code: grpc.StatusCode = error.code()
            return code
        return Code.OK


@pytest.fixture(scope="module")
def endpoint(
    make_model: Callable[..., LocalModel], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Endpoint]:
    records = open_records(records_url(str(tmp_path_factory.mktemp("storage")), None))
    store, used = KeyStore(records), list[UsageRecord]()
    app = create_app(
        {"reds": make_model()},
        ServingConfig(),
        gate=KeyGate(KnownKeys(store)),
        record=used.append,
    )
    app.add_middleware(BehindGateway, secret=SECRET)
    with (
        running(app) as port,
        calling(f"http://127.0.0.1:{port}") as address,
        grpc.insecure_channel(address) as channel,
    ):
        yield Endpoint(store, used, service_pb2_grpc.GRPCInferenceServiceStub(channel))
    records.close()


@pytest.fixture
def question(png: Callable[..., bytes]) -> service_pb2.ModelInferRequest:
    request = service_pb2.ModelInferRequest(model_name="reds")
    for name, value in (("image", png()), ("text", b"is it?")):
        made = request.inputs.add(name=name, datatype="BYTES", shape=[1])
        made.contents.bytes_contents.append(value)
    return request


def test_a_key_lets_in_by_either_header_and_its_use_is_written_down(
    endpoint: Endpoint, question: service_pb2.ModelInferRequest
) -> None:
    key = endpoint.key(Rights(scopes=("reds",)))
    assert endpoint.ask(question, authorization=f"Bearer {key}") == Code.OK
    assert endpoint.ask(question, x_api_key=key) == Code.OK
    first, second = endpoint.records[-2:]
    assert (first.endpoint, first.status, first.rows) == ("reds", 200, 1)
    assert first.principal == second.principal == "acme"
    assert first.key == second.key != ""


def test_a_call_without_a_key_or_with_one_for_other_models_is_refused(
    endpoint: Endpoint, question: service_pb2.ModelInferRequest
) -> None:
    count = len(endpoint.records)
    assert endpoint.ask(question) == Code.UNAUTHENTICATED
    assert endpoint.ask(question, x_api_key="aip_k3v0q9x2ab_00ff") == Code.UNAUTHENTICATED
    other = endpoint.key(Rights(scopes=("blues",)))
    assert endpoint.ask(question, x_api_key=other) == Code.PERMISSION_DENIED
    assert len(endpoint.records) == count
    # As over HTTP, whether there is a server is for everybody.
    assert endpoint.stub.ServerLive(service_pb2.ServerLiveRequest()).live


def test_a_rate_is_kept_and_says_when_to_come_again(
    endpoint: Endpoint, question: service_pb2.ModelInferRequest
) -> None:
    key = endpoint.key(Rights(rate=0.1, burst=1))
    metadata = (("x-api-key", key), ("x-request-id", "q-7"))
    assert endpoint.ask(question, x_api_key=key) == Code.OK
    with pytest.raises(grpc.RpcError) as caught:
        endpoint.stub.ModelInfer(question, metadata=metadata)
    assert caught.value.code() == Code.RESOURCE_EXHAUSTED
    assert "may ask 0.1 times a second" in caught.value.details()
    trailer = dict(caught.value.trailing_metadata())
    assert 1 <= int(trailer["retry-after"]) <= 10
    assert trailer["x-request-id"] == "q-7"


def test_the_callers_address_is_the_one_that_counts(
    endpoint: Endpoint, question: service_pb2.ModelInferRequest
) -> None:
    here = endpoint.key(Rights(cidrs=(network("127.0.0.1"),)))
    elsewhere = endpoint.key(Rights(cidrs=(network("203.0.113.0/24"),)))
    assert endpoint.ask(question, x_api_key=here) == Code.OK
    assert endpoint.ask(question, x_api_key=elsewhere) == Code.PERMISSION_DENIED
    # What it says of itself is judged as over HTTP.
    assert endpoint.ask(question, x_api_key=here, x_forwarded_for="203.0.113.9") == Code.OK
    told = {"x_forwarded_for": "127.0.0.1", "x_aiplat_caller": f"{SECRET} 203.0.113.9"}
    assert endpoint.ask(question, x_api_key=elsewhere, **told) == Code.PERMISSION_DENIED


@pytest.mark.parametrize(
    ("said", "client"),
    [
        (f"{SECRET} 203.0.113.9", ("203.0.113.9", 65_536)),
        (f"{SECRET} 2001:db8::9", ("2001:db8::9", 65_536)),
        (f"{SECRET} ", None),
        (SECRET, None),
        ("guess 203.0.113.9", None),
        ("é 203.0.113.9", None),
        (None, ("127.0.0.1", 40_000)),
    ],
)
def test_only_the_gateway_says_who_asks(said: str | None, client: tuple[str, int] | None) -> None:
    scopes: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)

    headers = [] if said is None else [(CALLER_HEADER.lower().encode(), said.encode())]
    scope = {"type": "http", "client": ("127.0.0.1", 40_000), "headers": headers}
    asyncio.run(BehindGateway(app, SECRET)(scope, cast("Any", None), cast("Any", None)))
    assert [(found["client"], found["headers"]) for found in scopes] == [(client, [])]
