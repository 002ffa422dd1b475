"""Whatever is sent, the answer is a problem that names the field, and the next request works."""

import base64
import io
import json
import random
import struct
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

PREDICT = "/v1/models/reds:predict"


def png(size: tuple[int, int] = (8, 8), file_format: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.linear_gradient("L").resize(size).save(stream, file_format)
    return stream.getvalue()


def bomb() -> bytes:
    """A PNG of 20,000 x 20,000 black pixels, in 50 kB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 20_000, 20_000, 1, 0, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(20_000 * 2_501), 1))
    return b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b"")


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


GOOD_ROW: dict[str, Any] = {"image": encoded(png()), "text": "hot?"}


def row_of(image: bytes) -> dict[str, Any]:
    return GOOD_ROW | {"image": encoded(image)}


JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "multipart/form-data; boundary=b"}


def row(**fields: Any) -> dict[str, Any]:
    """A JSON request whose second row is good but for `fields`."""
    return {"json": {"inputs": [GOOD_ROW, GOOD_ROW | fields]}}


def text(body: str | bytes) -> dict[str, Any]:
    """A request that says it is JSON."""
    return {"content": body, "headers": JSON}


def raw_row(fields: str) -> dict[str, Any]:
    """A JSON request whose second row has `fields` written as they are."""
    good = json.dumps(GOOD_ROW)
    return text(f'{{"inputs": [{good}, {good[:-1]}, {fields}}}]}}')


def form(**parts: Any) -> dict[str, Any]:
    files = {name: part for name, part in parts.items() if isinstance(part, (bytes, tuple))}
    data = {name: part for name, part in parts.items() if name not in files}
    return {"data": data, "files": {"image": png()} | files}


# What is sent, the status, the field (None where none is to blame), words of the detail.
CASES: dict[str, tuple[dict[str, Any], int, str | None, str]] = {
    "empty body": (text(""), 400, None, "not JSON"),
    "malformed JSON": (text('{"inputs": ['), 400, None, "not JSON"),
    "not UTF-8": (text(b'{"inputs": "\xff\xfe"}'), 400, None, "not JSON"),
    "nested beyond depth": (text('{"inputs":' + "[" * 100_000), 400, None, "not JSON"),
    "number of many digits": (text('{"inputs": ' + "1" * 9_000 + "}"), 400, None, "not JSON"),
    "array": (text("[]"), 422, "body", '{"inputs": [...]}'),
    "null": (text("null"), 422, "body", "got null"),
    "no inputs": (text("{}"), 422, "inputs", "is required"),
    "inputs is one object": (text('{"inputs": {}}'), 422, "inputs", "must be an array"),
    "misspelt inputs": (text('{"input": []}'), 422, "input", "did you mean 'inputs'"),
    "no rows": (text('{"inputs": []}'), 422, "inputs", "at least one row"),
    "row is no object": (text('{"inputs": [{}, 7]}'), 422, "inputs[1]", "must be an object"),
    "too many rows": ({"json": {"inputs": [GOOD_ROW] * 5}}, 422, "inputs", "at most 4"),
    "unknown field": (row(txt="a"), 422, "inputs[1].txt", "did you mean 'text'"),
    "half a pair as a name": (raw_row(r'"\ud800": 1'), 422, "inputs[1].\ud800", "is not a field"),
    "long name": (row(**{"x" * 9999: 1}), 422, "inputs[1]." + "x" * 100 + "...", "is not a field"),
    "missing image": ({"json": {"inputs": [{"text": ""}]}}, 422, "inputs[0].image", "is required"),
    "image null": (row(image=None), 422, "inputs[1].image", "is required"),
    "image number": (row(image=3), 422, "inputs[1].image", "must be a string"),
    "image object": (row(image={"b64": "a"}), 422, "inputs[1].image", "got an object"),
    "image empty": (row(image=""), 422, "inputs[1].image", "is empty"),
    "broken base64": (row(image="a#b$"), 422, "inputs[1].image", "is not base64"),
    "base64 cut": (row(image=encoded(png())[:-3]), 422, "inputs[1].image", "is not base64"),
    "base64 not ASCII": (row(image="жж=="), 422, "inputs[1].image", "is not base64"),
    "image address": (row(image="https://x/y.png"), 422, "inputs[1].image", "not fetched"),
    "data URL bare": (row(image="data:image/png,x"), 422, "inputs[1].image", ";base64,"),
    "not an image": (row(image=encoded(b"hello")), 422, "inputs[1].image", "not an image"),
    "vector image": (row(image=encoded(b"<svg/>")), 422, "inputs[1].image", "not an image"),
    "PostScript": (row(image=encoded(png(file_format="EPS"))), 422, "inputs[1].image", "formats"),
    "header cut": (row(image=encoded(png()[:20])), 422, "inputs[1].image", "not an image"),
    "truncated PNG": (
        row(image=encoded(png((300, 300))[:500])),
        422,
        "inputs[1].image",
        "damaged",
    ),
    "truncated JPEG": (
        row(image=encoded(png((300, 300), "JPEG")[:-300])),
        422,
        "inputs[1].image",
        "damaged",
    ),
    "bomb": (row(image=encoded(bomb())), 422, "inputs[1].image", "too large"),
    "large image": (row(image=encoded(png((2000, 600)))), 422, "inputs[1].image", "1.2 megapixels"),
    "images large together": (
        {"json": {"inputs": [GOOD_ROW | {"image": encoded(png((800, 800)))}] * 2}},
        422,
        "inputs[1].image",
        "serve.max_megapixels",
    ),
    "text number": (row(text=3), 422, "inputs[1].text", "must be a string, got a number (3)"),
    "text null": (row(text=None), 422, "inputs[1].text", "is required"),
    "text too long": (row(text="a" * 1001), 422, "inputs[1].text", "serve.max_text_chars"),
    "text half a pair": (raw_row(r'"text": "\ud800"'), 422, "inputs[1].text", "surrogate"),
    "number text": (row(age="3"), 422, "inputs[1].age", "must be a number, got a string ('3')"),
    "number boolean": (row(age=True), 422, "inputs[1].age", "got a boolean"),
    "number array": (row(age=[3]), 422, "inputs[1].age", "got an array"),
    "NaN": (raw_row('"age": NaN'), 422, "inputs[1].age", "got nan"),
    "Infinity": (raw_row('"age": -Infinity'), 422, "inputs[1].age", "got -inf"),
    "number overflows": (raw_row('"age": 1e999'), 422, "inputs[1].age", "got inf"),
    "number beyond 32 bits": (raw_row('"age": 1e39'), 422, "inputs[1].age", "32-bit"),
    "number beyond all": (raw_row(f'"age": {10**400}'), 422, "inputs[1].age", "many digits"),
    "unknown category": (row(home="ovner"), 422, "inputs[1].home", "did you mean 'owner'"),
    "category number": (row(home=1), 422, "inputs[1].home", "must be a string"),
    "no content type": ({"content": "{}"}, 415, None, "is missing"),
    "plain text": ({"content": "{}", "headers": {"Content-Type": "text/plain"}}, 415, None, "-H"),
    "url-encoded": ({"data": {"text": "a"}}, 415, None, "application/x-www-form-urlencoded"),
    "form, no boundary": (
        {"content": "x", "headers": {"Content-Type": "multipart/form-data"}},
        400,
        None,
        "boundary",
    ),
    "form, broken": ({"content": "nonsense", "headers": FORM}, 400, None, "form"),
    "form, nameless part": (
        {"content": "--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--", "headers": FORM},
        400,
        None,
        "name",
    ),
    "form, empty": ({"content": "--b--\r\n", "headers": FORM}, 422, "inputs", "at least one row"),
    "form, no image": ({"files": {"text": (None, "a")}}, 422, "inputs[0].image", "is required"),
    "form, file for text": (form(text=b"a"), 422, "inputs[0].text", "got a file"),
    "form, no number": (form(text="a", age="abc"), 422, "inputs[0].age", "'abc'"),
    "form, NaN": (form(text="a", age="nan"), 422, "inputs[0].age", "got nan"),
    "form, unknown field": (form(text="a", agee="1"), 422, "inputs[0].agee", "'age'"),
    "form, empty file": (form(text="a", image=("a.png", b"")), 422, "inputs[0].image", "is empty"),
    "form, uneven": (form(text=["a"] * 3, age=["1"] * 2), 422, "age", "once or 3 times"),
    "form, too many rows": (form(text=["a"] * 5), 422, "inputs", "at most 4"),
    "form, too many parts": (form(text=["a"] * 99), 400, None, "Too many fields"),
    "body too large": (text("[" * 500_001), 413, None, "serve.max_body_mb"),
    "form too large": (form(text="a", image=bytes(500_001)), 413, None, "serve.max_body_mb"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_bad_request_is_refused_by_name_and_the_next_one_works(
    client: TestClient, case: str
) -> None:
    request, status, field, words = CASES[case]
    response = client.post(PREDICT, **request)
    problem = response.json()
    assert (response.status_code, problem["status"]) == (status, status), problem
    assert response.headers["content-type"] == "application/problem+json"
    assert problem.get("field") == field
    assert words in problem["detail"]
    assert problem["type"].startswith("urn:aiplat:problem:")
    assert problem["title"]
    assert problem["request_id"] == response.headers["X-Request-Id"]
    assert client.post(PREDICT, json={"inputs": [GOOD_ROW]}).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("POST", "/v1/models/rads:predict", 404, "did you mean 'reds'"),
        ("GET", "/v1/models/rads", 404, "did you mean 'reds'? (it has: reds)"),
        ("GET", "/v1/models/rads:predict", 404, "no model 'rads:predict'"),
        ("GET", PREDICT, 405, "takes POST, not GET"),
        ("PUT", PREDICT, 405, "takes POST, not PUT"),
        ("DELETE", "/v1/models", 405, "takes GET, not DELETE"),
        ("GET", "/v2/models", 404, "GET /v1/models lists the models"),
        ("POST", "/v1/models/reds/infer", 404, "no such path: /v1/models/reds/infer"),
    ],
)
def test_a_wrong_address_or_method_is_explained(
    client: TestClient, method: str, path: str, status: int, words: str
) -> None:
    response = client.request(method, path)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert words in response.json()["detail"]
    assert status != 405 or response.headers["Allow"] in ("GET", "POST")


def test_all_that_is_wrong_is_told_at_once(client: TestClient) -> None:
    rows = [{"text": 1, "agee": 2}, GOOD_ROW, GOOD_ROW | {"age": "x"}]
    problem = client.post(PREDICT, json={"inputs": rows}).json()
    assert [error["field"] for error in problem["errors"]] == [
        "inputs[0].agee",
        "inputs[0].image",
        "inputs[0].text",
        "inputs[2].age",
    ]
    assert problem["detail"].endswith("(and 3 more)")


@pytest.mark.parametrize("file_format", ["BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP"])
def test_no_damage_to_an_image_is_our_failure(client: TestClient, file_format: str) -> None:
    chance = random.Random(file_format)
    whole = png((24, 24), file_format)
    for _ in range(40):
        damaged = bytearray(whole)
        for _ in range(chance.choice([1, 3, 30])):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        del damaged[chance.choice([len(whole), chance.randrange(len(whole))]) :]
        response = client.post(PREDICT, json={"inputs": [GOOD_ROW, row_of(bytes(damaged))]})
        assert response.status_code in (200, 422), response.text
        assert response.json().get("field") in (None, "inputs[1].image")


@pytest.mark.parametrize("charset", ["rot13", "utf-7", "idna", "no-such"])
def test_no_charset_of_a_form_is_our_failure(
    client: TestClient, charset: str, model: Any, make_charset_form: Callable[[str], dict[str, Any]]
) -> None:
    response = client.post(PREDICT, **make_charset_form(charset))
    assert response.status_code < 500


@pytest.fixture
def make_charset_form() -> Callable[[str], dict[str, Any]]:
    def make(charset: str) -> dict[str, Any]:
        parts = b'--b\r\nContent-Disposition: form-data; name="text"\r\n\r\n+\xff\r\n'
        image = b'--b\r\nContent-Disposition: form-data; name="image"; filename="\xff"\r\n\r\n'
        return {
            "content": parts + image + png() + b"\r\n--b--\r\n",
            "headers": {"Content-Type": f"multipart/form-data; boundary=b; charset={charset}"},
        }

    return make
