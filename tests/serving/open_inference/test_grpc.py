"""A gRPC client of another project, which knows the protocol but not us, gets the plain answers."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as stock
from starlette.types import Receive, Scope, Send
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

from aiplat.errors import ConfigError
from aiplat.serving.app import create_app
from aiplat.serving.config import ServingConfig
from tests.serving.calling import calling
from tests.serving.running import running

INFER = "/inference.GRPCInferenceService/ModelInfer"
LIVE = "/inference.GRPCInferenceService/ServerLive"
MAX_BYTES = 1_000_000
TIMEOUT_S = 0.5


@pytest.fixture(scope="module")
def url(make_model: Callable[..., Any]) -> Iterator[str]:
    app = create_app({"reds": make_model()}, ServingConfig(max_rows=4, max_text_chars=1_000_000))
    with running(app) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def address(url: str) -> Iterator[str]:
    with calling(url, MAX_BYTES, TIMEOUT_S) as address:
        yield address


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[stock.InferenceServerClient]:
    with stock.InferenceServerClient(address) as client:
        yield client


@pytest.fixture(scope="module")
def channel(address: str) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(address) as channel:
        yield channel


def tensor(name: str, values: Sequence[Any], datatype: str) -> stock.InferInput:
    kinds = {"BYTES": object, "FP32": np.float32, "FP64": np.float64, "INT32": np.int32}
    made = stock.InferInput(name, [len(values)], datatype)
    made.set_data_from_numpy(np.array(values, dtype=kinds[datatype]))
    return made


def tensors(rows: Sequence[dict[str, Any]], number: str = "FP64") -> list[stock.InferInput]:
    return [
        tensor("image", [row["image"] for row in rows], "BYTES"),
        tensor("text", [row["text"] for row in rows], "BYTES"),
        tensor("age", [row["age"] for row in rows], number),
        tensor("home", [row["home"] for row in rows], "BYTES"),
    ]


def require_answers(result: stock.InferResult, plain: list[dict[str, Any]]) -> None:
    """The tensors of an answer are the plain API's predictions."""
    labels = [value.decode() for value in result.as_numpy("label")]
    assert labels == [row["label"] for row in plain]
    found = result.as_numpy("probabilities")
    given = result.get_output("probabilities").parameters["labels"].string_param
    wanted = [[row["probabilities"][name] for name in json.loads(given)] for row in plain]
    assert (found.dtype, found.shape) == (np.float32, (3, 2))
    np.testing.assert_array_equal(found, np.array(wanted, dtype=np.float32))


@pytest.mark.parametrize("number", ["FP64", "FP32", "INT32"])
def test_a_stock_client_gets_the_answers_of_the_plain_api(
    client: stock.InferenceServerClient,
    rows: list[dict[str, Any]],
    plain: list[dict[str, Any]],
    number: str,
) -> None:
    outputs = [stock.InferRequestedOutput(name) for name in ("label", "probabilities")]
    result = client.infer("reds", tensors(rows, number), outputs=outputs, request_id="q-1")
    response = result.get_response()
    assert (response.id, response.model_name, response.model_version) == ("q-1", "reds", "7")
    assert response.parameters["prediction_id"].string_param
    require_answers(result, plain)


def test_values_by_type_are_read_like_values_as_bytes(
    channel: grpc.Channel, rows: list[dict[str, Any]], plain: list[dict[str, Any]]
) -> None:
    request = service_pb2.ModelInferRequest(model_name="reds", model_version="7")
    for name in ("image", "text", "home"):
        values = [row[name] if name == "image" else row[name].encode() for row in rows]
        made = request.inputs.add(name=name, datatype="BYTES", shape=[3])
        made.contents.bytes_contents.extend(values)
    ages = request.inputs.add(name="age", datatype="FP64", shape=[3, 1])
    ages.contents.fp64_contents.extend([row["age"] for row in rows])
    response = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request)
    assert [output.name for output in response.outputs] == ["label", "probabilities"]
    require_answers(stock.InferResult(response), plain)


def test_a_stock_client_reads_what_the_server_and_the_model_are(
    client: stock.InferenceServerClient,
) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("reds")
    assert client.is_model_ready("reds", "7")
    server = client.get_server_metadata()
    assert (server.name, list(server.extensions)) == ("aiplat", ["binary_tensor_data"])
    metadata = client.get_model_metadata("reds", "7")
    assert (metadata.name, list(metadata.versions)) == ("reds", ["7"])
    found = [(item.name, item.datatype, list(item.shape)) for item in metadata.inputs]
    assert found == [
        ("image", "BYTES", [-1]),
        ("text", "BYTES", [-1]),
        ("age", "FP64", [-1]),
        ("home", "BYTES", [-1]),
    ]
    assert [(item.name, list(item.shape)) for item in metadata.outputs] == [
        ("label", [-1]),
        ("probabilities", [-1, 2]),
    ]


def test_a_stock_client_is_told_what_is_wrong(
    client: stock.InferenceServerClient, rows: list[dict[str, Any]]
) -> None:
    def refused(*asked: Any, **words: Any) -> tuple[str, str]:
        with pytest.raises(InferenceServerException) as caught:
            client.infer(*asked, **words)
        return caught.value.status(), caught.value.message()

    whole = tensors(rows)
    code, said = refused("reds", whole[:1])
    assert (code, said) == ("StatusCode.INVALID_ARGUMENT", "rows[0].text is required (and 2 more)")
    code, said = refused("reds", whole, model_version="8")
    assert (code, said) == ("StatusCode.NOT_FOUND", "version 7 of reds is served here, not '8'")
    assert "did you mean 'reds'" in refused("rads", whole)[1]
    assert "there is no model '..' here" in refused("..", whole)[1]
    assert "at most 4" in refused("reds", tensors(rows * 2))[1]
    with pytest.raises(InferenceServerException, match="version 7 of reds is served"):
        client.is_model_ready("reds", "..")
    with pytest.raises(InferenceServerException, match="not found"):
        client.get_model_config("reds")


def test_a_model_that_is_not_ready_is_told_and_no_refusal(make_model: Callable[..., Any]) -> None:
    model = make_model()
    model.is_ready = False
    with (
        running(create_app({"reds": model}, ServingConfig())) as port,
        calling(f"http://127.0.0.1:{port}") as address,
        stock.InferenceServerClient(address) as client,
    ):
        assert client.is_server_live()
        assert not client.is_server_ready()
        assert not client.is_model_ready("reds")


def status(call: Callable[[], object]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code(), caught.value.details()


def test_what_no_client_should_send_is_refused_unread(channel: grpc.Channel) -> None:
    infer = channel.unary_unary(INFER)
    large = service_pb2.ModelInferRequest(id="x" * 2 * MAX_BYTES).SerializeToString()
    assert status(lambda: infer(large))[0] == grpc.StatusCode.RESOURCE_EXHAUSTED
    packed = status(lambda: infer(large, compression=grpc.Compression.Gzip))
    assert packed[0] == grpc.StatusCode.UNIMPLEMENTED
    code, said = status(lambda: infer(b"\xff\xff"))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert "ModelInferRequest" in said
    live = channel.stream_unary(LIVE)
    assert status(lambda: live(iter(()))) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "the call has no message",
    )


def test_a_message_that_does_not_come_is_not_waited_for(channel: grpc.Channel) -> None:
    def late() -> Iterator[bytes]:
        time.sleep(2 * TIMEOUT_S)
        yield b""

    assert status(lambda: channel.stream_unary(LIVE)(late())) == (
        grpc.StatusCode.DEADLINE_EXCEEDED,
        f"the message did not arrive within {TIMEOUT_S:g} s (serve.request_timeout_s)",
    )


def test_an_endpoint_that_is_away_is_unavailable() -> None:
    with calling("http://127.0.0.1:9") as address, grpc.insecure_channel(address) as channel:
        assert status(lambda: channel.unary_unary(LIVE)(b"")) == (
            grpc.StatusCode.UNAVAILABLE,
            "the endpoint cannot be reached just now",
        )


def test_a_taken_port_is_named(address: str) -> None:
    port = int(address.rpartition(":")[2])
    with (
        pytest.raises(ConfigError, match=f"127.0.0.1:{port}: set serve.grpc_port to a free"),
        calling("http://127.0.0.1:9", port=port),
    ):
        pass


def test_a_caller_that_gives_up_leaves_the_endpoint_as_well() -> None:
    left = threading.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        while (await receive())["type"] != "http.disconnect":
            pass
        left.set()

    with (
        running(app) as port,
        calling(f"http://127.0.0.1:{port}") as address,
        grpc.insecure_channel(address) as channel,
    ):
        live = channel.unary_unary(LIVE)
        code, _ = status(lambda: live(b"", timeout=0.3))
        assert code == grpc.StatusCode.DEADLINE_EXCEEDED
        assert left.wait(5)
