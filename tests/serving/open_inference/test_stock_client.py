"""A client of another project, which knows the protocol but not us, gets the plain answers."""

import base64
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import tritonclient.http as stock
from tritonclient.utils import InferenceServerException

from aiplat.serving.app import create_app
from aiplat.serving.config import ServingConfig
from tests.serving.running import running


@pytest.fixture(scope="module")
def url(make_model: Callable[..., Any]) -> Iterator[str]:
    app = create_app({"reds": make_model()}, ServingConfig(max_rows=4))
    with running(app) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[stock.InferenceServerClient]:
    with stock.InferenceServerClient(url.removeprefix("http://")) as client:
        yield client


def tensor(name: str, values: Sequence[Any], datatype: str, binary: bool) -> stock.InferInput:
    kinds = {"BYTES": object, "FP32": np.float32, "FP64": np.float64, "INT32": np.int32}
    made = stock.InferInput(name, [len(values)], datatype)
    made.set_data_from_numpy(np.array(values, dtype=kinds[datatype]), binary_data=binary)
    return made


def tensors(
    rows: Sequence[Mapping[str, Any]], binary: bool, number: str = "FP64"
) -> list[stock.InferInput]:
    images = [row["image"] for row in rows]
    if not binary:
        images = [base64.b64encode(image) for image in images]
    return [
        tensor("image", images, "BYTES", binary),
        tensor("text", [row["text"] for row in rows], "BYTES", binary),
        tensor("age", [row["age"] for row in rows], number, binary),
        tensor("home", [row["home"] for row in rows], "BYTES", binary),
    ]


@pytest.mark.parametrize("binary_in", [True, False], ids=["binary in", "JSON in"])
@pytest.mark.parametrize("binary_out", [True, False], ids=["binary out", "JSON out"])
@pytest.mark.parametrize("number", ["FP64", "FP32", "INT32"])
def test_a_stock_client_gets_the_answers_of_the_plain_api(
    client: stock.InferenceServerClient,
    rows: list[dict[str, Any]],
    plain: list[dict[str, Any]],
    binary_in: bool,
    binary_out: bool,
    number: str,
) -> None:
    outputs = [
        stock.InferRequestedOutput(name, binary_data=binary_out)
        for name in ("label", "probabilities")
    ]
    result = client.infer(
        "reds", tensors(rows, binary_in, number), outputs=outputs, request_id="q-1"
    )
    response = result.get_response()
    assert (response["id"], response["model_name"], response["model_version"]) == (
        "q-1",
        "reds",
        "7",
    )
    labels = [value.decode() if binary_out else value for value in result.as_numpy("label")]
    assert labels == [row["label"] for row in plain]
    found = result.as_numpy("probabilities")
    names = json.loads(result.get_output("probabilities")["parameters"]["labels"])
    wanted = [[row["probabilities"][name] for name in names] for row in plain]
    assert (found.dtype, found.shape) == (np.float32, (3, 2))
    np.testing.assert_array_equal(found, np.array(wanted, dtype=np.float32))


def test_without_chosen_outputs_all_are_answered(
    client: stock.InferenceServerClient, rows: list[dict[str, Any]]
) -> None:
    result = client.infer("reds", tensors(rows, binary=True), model_version="7")
    assert [output["name"] for output in result.get_response()["outputs"]] == [
        "label",
        "probabilities",
    ]


def test_a_stock_client_reads_what_the_server_and_the_model_are(
    client: stock.InferenceServerClient,
) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("reds")
    assert client.is_model_ready("reds", "7")
    assert not client.is_model_ready("reds", "8")
    assert not client.is_model_ready("rads")
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    metadata = client.get_model_metadata("reds", "7")
    assert metadata["versions"] == ["7"]
    assert [(item["name"], item["datatype"], item["shape"]) for item in metadata["inputs"]] == [
        ("image", "BYTES", [-1]),
        ("text", "BYTES", [-1]),
        ("age", "FP64", [-1]),
        ("home", "BYTES", [-1]),
    ]
    assert [(item["name"], item["datatype"], item["shape"]) for item in metadata["outputs"]] == [
        ("label", "BYTES", [-1]),
        ("probabilities", "FP32", [-1, 2]),
    ]
    assert json.loads(metadata["outputs"][1]["parameters"]["labels"]) == ["red", "not"]


def test_a_stock_client_is_told_what_is_wrong(
    client: stock.InferenceServerClient, rows: list[dict[str, Any]]
) -> None:
    with pytest.raises(InferenceServerException, match=r"rows\[0\].text is required") as caught:
        client.infer("reds", tensors(rows, binary=True)[:1])
    assert caught.value.status() == "422"
    with pytest.raises(InferenceServerException, match="version 7 of reds is served here, not '8'"):
        client.infer("reds", tensors(rows, binary=True), model_version="8")
    with pytest.raises(InferenceServerException, match="did you mean 'reds'"):
        client.infer("rads", tensors(rows, binary=True))
    with pytest.raises(InferenceServerException, match="at most 4"):
        client.infer("reds", tensors(rows * 2, binary=True))
