"""Calls of the protocol as requests over HTTP, and answers over HTTP as messages."""

import json
from typing import Any

import pytest

from aiplat.serving.open_inference.tensors import LENGTH_HEADER
from aiplat.serving.open_inference.translation import RPCS, Answered, Asked, MessageError

INFER = RPCS["ModelInfer"]


def message(**fields: Any) -> Any:
    return INFER.request(model_name="reds", **fields)


def split(asked: Asked) -> tuple[dict[str, Any], bytes]:
    """The JSON of a body, and what follows it."""
    assert asked.body is not None
    length = int(asked.headers[LENGTH_HEADER])
    return json.loads(asked.body[:length]), asked.body[length:]


def test_bytes_go_beside_the_json_and_numbers_into_it() -> None:
    request = message(id="q")
    request.inputs.add(name="a", datatype="BYTES", shape=[2]).contents.bytes_contents.extend(
        [b"\xff", b""]
    )
    request.inputs.add(name="b", datatype="UINT8", shape=[2]).contents.uint_contents.extend([1, 2])
    head, tail = split(INFER.asked(request))
    assert tail == b"\x01\x00\x00\x00\xff\x00\x00\x00\x00"
    assert (head["id"], head["parameters"]) == ("q", {"binary_data_output": True})
    assert [tensor["parameters"] for tensor in head["inputs"]] == [{"binary_data_size": 9}, {}]
    assert head["inputs"][1]["data"] == [1, 2]


def test_parameters_of_every_type_are_kept() -> None:
    request = message()
    values = {"a": True, "b": -5, "c": 2.5, "d": "ä", "e": 2**64 - 1}
    kinds = ("bool", "int64", "double", "string", "uint64")
    for (name, value), kind in zip(values.items(), kinds, strict=True):
        setattr(request.parameters[name], f"{kind}_param", value)
    # One that was given no value says nothing.
    request.parameters["f"].Clear()
    head, _ = split(INFER.asked(request))
    assert head["parameters"] == values | {"binary_data_output": True}


@pytest.mark.parametrize(
    ("raw", "contents"), [([b"x"], [False, False]), ([b"x", b"y"], [True, False])]
)
def test_values_beside_only_some_inputs_are_refused(raw: list[bytes], contents: list[bool]) -> None:
    request = message(raw_input_contents=raw)
    for has_contents in contents:
        tensor = request.inputs.add(name="a", datatype="BYTES", shape=[1])
        if has_contents:
            tensor.contents.bytes_contents.append(b"z")
    with pytest.raises(MessageError, match=f"raw_input_contents has {len(raw)} tensors for 2"):
        INFER.asked(request)


@pytest.mark.parametrize(
    ("name", "version", "path"),
    [
        ("reds", "", "/v2/models/reds"),
        ("reds", "7", "/v2/models/reds/versions/7"),
        ("..", "", "/v2/models/%2E%2E"),
        ("a/b?c", "../ä", "/v2/models/a%2Fb%3Fc/versions/%2E%2E%2F%C3%A4"),
    ],
)
def test_a_name_is_one_part_of_a_path(name: str, version: str, path: str) -> None:
    rpc = RPCS["ModelMetadata"]
    assert rpc.asked(rpc.request(name=name, version=version)) == Asked(path)


def test_tensors_of_an_answer_are_its_bytes_in_turn() -> None:
    outputs = [
        {"name": "a", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": 8}},
        {
            "name": "b",
            "datatype": "BYTES",
            "shape": [0],
            "parameters": {"binary_data_size": 0, "kind": "x"},
        },
    ]
    said = {
        "model_name": "reds",
        "model_version": "7",
        "parameters": {"n": 3, "is": False, "f": 0.5},
        "outputs": outputs,
    }
    head = json.dumps(said).encode()
    answered = Answered(200, {LENGTH_HEADER.lower(): str(len(head))}, head + b"12345678")
    answer: Any = INFER.answer(answered)
    assert list(answer.raw_output_contents) == [b"12345678", b""]
    assert [list(output.shape) for output in answer.outputs] == [[1, 2], [0]]
    assert answer.outputs[1].parameters["kind"].string_param == "x"
    assert set(answer.outputs[0].parameters) == set()
    found = {name: value.WhichOneof("choice") for name, value in answer.parameters.items()}
    assert found == {"n": "int64_param", "is": "bool_param", "f": "double_param"}


def test_not_ready_is_an_answer_and_a_refusal_is_none() -> None:
    assert Answered(503, {}, b'{"ready": false}').is_answer
    assert not Answered(503, {}, b'{"status": 503, "detail": "no replica"}').is_answer
    assert not Answered(503, {}, b"<html>").is_answer
