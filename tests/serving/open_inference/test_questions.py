"""Whatever an infer request gets wrong is a problem that names it, and the next request works."""

import base64
import json
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from aiplat.serving.app import create_app
from aiplat.serving.config import ServingConfig
from aiplat.serving.metering.usage import UsageRecord
from aiplat.serving.served import Answers, ModelInfo
from aiplat.tasks.fields import InputField, OutputField

INFER = "/v2/models/reds/infer"
LENGTH = "Inference-Header-Content-Length"


def packed(*values: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(value)) + value for value in values)


def text(**changes: Any) -> dict[str, Any]:
    return {"name": "text", "datatype": "BYTES", "shape": [1], "data": ["a"], **changes}


def binary(name: str, datatype: str, size: Any, shape: Any = (1,)) -> dict[str, Any]:
    parameters = {"binary_data_size": size}
    return {"name": name, "datatype": datatype, "shape": list(shape), "parameters": parameters}


@pytest.fixture(scope="session")
def image(png: Callable[..., bytes]) -> dict[str, Any]:
    data = [base64.b64encode(png()).decode()]
    return {"name": "image", "datatype": "BYTES", "shape": [1], "data": data}


def with_tail(body: Any, tail: bytes, length: str | None = None) -> dict[str, Any]:
    head = json.dumps(body).encode()
    return {"content": head + tail, "headers": {LENGTH: length or str(len(head))}}


# What is sent beside a good image, the field that is blamed, words of the detail.
CASES: dict[str, tuple[dict[str, Any], str, str]] = {
    "unknown input": (text(name="txt"), "inputs[1].name", "did you mean 'text'"),
    "no name": (text(name=None), "inputs[1].name", "is required"),
    "input given twice": (text(name="image"), "inputs[1].name", "second time"),
    "datatype of another kind": (text(datatype="FP32"), "inputs[1].datatype", "text takes BYTES"),
    "number as bytes": (text(name="age"), "inputs[2].datatype", "age takes FP16, FP32"),
    "datatype of nobody": (text(datatype="COMPLEX"), "inputs[1].datatype", "is 'COMPLEX'"),
    "no shape": (text(shape=None), "inputs[1].shape", "is required"),
    "scalar": (text(shape=[]), "inputs[1].shape", "[rows] or [rows, 1]"),
    "matrix": (text(shape=[1, 2]), "inputs[1].shape", "is [1, 2]"),
    "negative size": (text(shape=[-1]), "inputs[1].shape[0]", "whole number"),
    "true as size": (text(shape=[True]), "inputs[1].shape[0]", "got a boolean"),
    "other number of rows": (text(shape=[2]), "inputs[1].shape", "inputs[0].shape says 1"),
    "fewer values": (text(data=[]), "inputs[1]", "holds 0 values, expected 1"),
    "more values": (text(data=["a", "b"]), "inputs[1]", "holds 2 values, expected 1"),
    "no values": (text(data=None), "inputs[1]", "has none of data"),
    "values no list": (text(data="a"), "inputs[1].data", "must be an array"),
    "value of another type": (text(data=[{}]), "rows[0].text", "got an object"),
    "fraction as integer": (
        text(name="age", datatype="INT8", data=[1.5]),
        "inputs[2]",
        "said to be INT8",
    ),
    "not finite": (
        text(name="age", datatype="FP64", data=[float("inf")]),
        "rows[0].age",
        "finite",
    ),
    "size of no number": (binary("text", "BYTES", "9"), "size", "got a string"),
    "size beyond the body": (binary("text", "BYTES", 10**30), "inputs[1]", "0 bytes are left"),
    "in shared memory": (
        text(parameters={"shared_memory_region": "a"}),
        "inputs[1].parameters.shared_memory_region",
        "extension",
    ),
    "parameters no object": (text(parameters=[1]), "inputs[1].parameters", "must be an object"),
    "tensor no object": ({}, "inputs[1].name", "is required"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_wrong_tensor_is_named(client: TestClient, image: dict[str, Any], case: str) -> None:
    tensor, field, words = CASES[case]
    others = [image, text()] if tensor.get("name") == "age" else [image]
    sent = json.dumps({"inputs": [*others, tensor]})
    response = client.post(INFER, content=sent, headers={"Content-Type": "application/json"})
    problem = response.json()
    assert response.status_code == problem["status"] == 422, problem
    assert problem["field"].endswith(field)
    assert words in problem["detail"]
    assert problem["error"] == problem["detail"]
    assert response.headers["content-type"] == "application/problem+json"
    assert client.post(INFER, json={"inputs": [image, text()]}).status_code == 200


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        ([], "body", "must be an object"),
        ({}, "inputs", "is required"),
        ({"inputs": []}, "inputs", "at least one row"),
        ({"inputs": [text(shape=[0], data=[])]}, "inputs", "at least one row"),
        ({"inputs": [text(shape=[5], data=["a"] * 5)]}, "inputs", "serve.max_rows"),
        ({"inputs": [text(shape=[10**30])]}, "inputs", "serve.max_rows"),
        ({"inputs": [text()]}, "rows[0].image", "is required"),
        ({"inputs": [text()], "id": 7}, "id", "must be a string"),
        ({"inputs": [text()], "parameters": {"binary_data_output": 1}}, "output", "true or false"),
        ({"inputs": [text()], "parameters": {"sequence_id": 1}}, "sequence_id", "extension"),
        ({"inputs": [text()], "outputs": {}}, "outputs", "must be an array"),
        ({"inputs": [text()], "outputs": [{"name": "lable"}]}, "outputs[0].name", "'label'"),
        ({"inputs": [text()], "outputs": [{"name": "label"}] * 2}, "outputs[1].name", "second"),
        (
            {
                "inputs": [text()],
                "outputs": [{"name": "label", "parameters": {"classification": 2}}],
            },
            "outputs[0].parameters.classification",
            "extension",
        ),
    ],
)
def test_a_wrong_request_is_named(client: TestClient, body: Any, field: str, words: str) -> None:
    problem = client.post(INFER, json=body).json()
    assert problem["status"] == 422
    assert problem["field"].endswith(field)
    assert words in problem["detail"]


@pytest.mark.parametrize(
    ("tensor", "tail", "words"),
    [
        (binary("text", "BYTES", 5), packed(b"a") + b"b", "1 bytes after its last tensor"),
        (binary("text", "BYTES", 6), packed(b"a"), "and 5 bytes are left"),
        (binary("text", "BYTES", 4), packed(b"a")[:4], "said to be 1 bytes long, and 0 are left"),
        (binary("text", "BYTES", 3), b"\0\0\0", "ends within the size of value 0"),
        (binary("text", "BYTES", 10), packed(b"a", b"b"), "goes on after its 1 values"),
        (binary("text", "BYTES", 0), b"", "holds 0 values, expected 1"),
        (binary("text", "BYTES", 4), b"\xff\xff\xff\xff", "4294967295 bytes long"),
        (binary("text", "BYTES", 5), packed(b"\xff"), "is not UTF-8"),
        (binary("age", "FP64", 4), b"\0\0\0\0", "is 4 bytes long, expected 8: 1 of FP64"),
        (binary("age", "FP32", 4), struct.pack("<f", float("nan")), "finite number"),
        (binary("home", "BYTES", 9), packed(b"ownes"), "did you mean 'owner'"),
    ],
)
def test_bytes_that_are_not_what_is_said_of_them_are_refused(
    client: TestClient, image: dict[str, Any], tensor: dict[str, Any], tail: bytes, words: str
) -> None:
    given = [image, text()] if tensor["name"] != "text" else [image]
    response = client.post(INFER, **with_tail({"inputs": [*given, tensor]}, tail))
    assert response.status_code == 422
    assert words in response.json()["error"]


@pytest.mark.parametrize("length", ["-1", "1e3", "9" * 40, "0", "7", "٣", " "])
def test_a_length_of_the_json_that_is_not_its_length_is_refused(
    client: TestClient, length: str
) -> None:
    body = with_tail({"inputs": [text()]}, b"", None)
    headers = {LENGTH.encode(): length.encode()}
    response = client.post(INFER, content=body["content"], headers=headers)
    assert response.status_code == 400
    assert response.json()["error"]


def test_values_may_be_one_to_a_list_and_numbers_of_any_size(
    client: TestClient, model: Any, image: dict[str, Any]
) -> None:
    nested = text(shape=[1, 1], data=[["a"]])
    for datatype, dtype in (("FP16", "<f2"), ("INT64", "<i8"), ("UINT8", "<u1")):
        tail = np.array([3], dtype).tobytes()
        inputs = [image, nested, binary("age", datatype, len(tail), (1, 1))]
        assert client.post(INFER, **with_tail({"inputs": inputs}, tail)).status_code == 200
        assert model.asked[-1]["age"] == 3.0
        assert model.asked[-1]["text"] == "a"


def test_an_id_is_echoed_whatever_it_holds(client: TestClient, image: dict[str, Any]) -> None:
    body = json.dumps({"inputs": [image, text()], "id": "ж\ud800"})
    assert client.post(INFER, content=body).json()["id"] == "ж\ud800"
    assert "id" not in client.post(INFER, json={"inputs": [image, text()]}).json()


def test_every_kind_of_output_is_a_tensor() -> None:
    outputs = (
        OutputField("said", "text"),
        OutputField("price", "number"),
        OutputField("where", "vector"),
        OutputField("chances", "probabilities"),
    )
    info = ModelInfo("all", "1", (InputField("text", "text"),), outputs, labels=("b", "a"))
    answered = {"said": "é", "price": 0.1, "where": [1.0, 2.0], "chances": {"a": 0.25, "b": 0.75}}

    class Fixed:
        def __init__(self) -> None:
            self.info = info

        async def predict(self, rows: Any) -> Answers:
            return Answers("1", (answered,) * len(rows))

        async def ready(self) -> bool:
            return False

    records: list[UsageRecord] = []
    app = create_app({"all": Fixed()}, ServingConfig(), record=records.append)
    client = TestClient(app)
    asked = [text(shape=[2], data=["a", "b"])]
    response = client.post("/v2/models/all/infer", json={"inputs": asked})
    found = {output["name"]: output for output in response.json()["outputs"]}
    assert found["said"] == {
        "name": "said",
        "datatype": "BYTES",
        "shape": [2],
        "data": ["é", "é"],
    }
    assert (found["price"]["datatype"], found["price"]["data"]) == ("FP64", [0.1, 0.1])
    assert (found["where"]["shape"], found["where"]["data"]) == ([2, 2], [1, 2, 1, 2])
    assert found["chances"]["data"] == [0.75, 0.25, 0.75, 0.25]
    assert (records[0].endpoint, records[0].rows, records[0].status) == ("all", 2, 200)
    assert response.json()["parameters"]["prediction_id"] == records[0].prediction_id
    assert response.headers["X-Prediction-Id"] == records[0].prediction_id
    for path in ("/v2/health/ready", "/v2/models/all/ready"):
        assert client.get(path).status_code == 503


def test_a_pinned_version_is_not_answered_by_another(
    client: TestClient, model: Any, image: dict[str, Any]
) -> None:
    async def newer(rows: Any) -> Answers:
        row = {"label": "red", "probabilities": {"red": 1.0, "not": 0.0}}
        return Answers("8", (row,) * len(rows))

    model.predict = newer
    body = {"inputs": [image, text()]}
    assert client.post(INFER, json=body).json()["model_version"] == "8"
    pinned = client.post("/v2/models/reds/versions/7/infer", json=body)
    assert pinned.status_code == 404
    assert "is being replaced" in pinned.json()["error"]
