import asyncio
import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from aiplat.client import (
    AsyncClient,
    AuthenticationError,
    Client,
    ClientError,
    ConnectionFailedError,
    FieldProblem,
    InvalidRequestError,
    NotFoundError,
    ProblemError,
    RateLimitError,
    Retries,
    ServerError,
)
from tests.client.endpoint import Async, Clock, Endpoint, Kind, Sync, answered, refused

BOTH = pytest.mark.parametrize("kind", [Sync, Async])
ONCE = Retries(total_s=0)


@BOTH
def test_images_are_bytes_or_paths(kind: Kind, tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(b"picture")
    endpoint = Endpoint([answered()])
    rows = [{"image": file, "text": "ж", "age": 3}, {"image": memoryview(b"picture")}]
    found = kind(endpoint, Clock())("predict", "reds", rows, request_id="mine")
    assert (found.model, found.version, found.prediction_id) == ("reds", "7", "p-1")
    assert (found.request_id, found.rows) == ("r-1", ({"label": "red"},))
    (request,) = endpoint.asked
    picture = base64.b64encode(b"picture").decode()
    assert json.loads(request.content) == {
        "inputs": [{"image": picture, "text": "ж", "age": 3}, {"image": picture}]
    }
    assert (request.method, request.url.path) == ("POST", "/v1/models/reds:predict")
    assert request.headers["X-Request-Id"] == "mine"


@BOTH
def test_a_file_that_is_not_there_is_told_before_anything_is_sent(kind: Kind) -> None:
    endpoint = Endpoint([answered()])
    with pytest.raises(FileNotFoundError, match="nowhere"):
        kind(endpoint, Clock())("predict", "reds", [{"image": Path("nowhere.png")}])
    assert endpoint.asked == []


@BOTH
@pytest.mark.parametrize("value", [float("nan"), {1, 2}, object()])
def test_a_value_that_json_has_no_word_for_is_told(kind: Kind, value: Any) -> None:
    with pytest.raises(ClientError, match="cannot be written as JSON"):
        kind(Endpoint([answered()]), Clock())("predict", "reds", [{"age": value}])


@BOTH
def test_the_key_comes_from_the_argument_or_the_environment(
    kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIPLAT_API_KEY", "aip_env")
    endpoint = Endpoint([answered()])
    kind(endpoint, Clock())("predict", "reds", [])
    assert endpoint.asked[0].headers["Authorization"] == "Bearer aip_env"
    for key, header in (("aip_own", "Bearer aip_own"), ("", None)):
        transport = httpx.MockTransport(endpoint)
        with Client("http://host:1", api_key=key, transport=transport) as client:
            client.predict("reds", [])
        assert endpoint.asked[-1].headers.get("Authorization") == header


@BOTH
@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, InvalidRequestError),
        (401, AuthenticationError),
        (403, AuthenticationError),
        (404, NotFoundError),
        (413, InvalidRequestError),
        (422, InvalidRequestError),
        (429, RateLimitError),
        (500, ServerError),
        (503, ServerError),
    ],
)
def test_a_refusal_is_an_error_with_all_that_was_said(
    kind: Kind, status: int, error: type[ProblemError]
) -> None:
    with pytest.raises(error, match=rf"{status}: not now \(request r-2\)") as caught:
        kind(Endpoint([refused(status)]), Clock())("describe", "reds")
    assert type(caught.value) is error
    assert caught.value.status == status
    assert caught.value.type == f"urn:aiplat:problem:{status}"
    assert (caught.value.title, caught.value.detail) == ("No", "not now")


def test_a_refusal_that_is_no_problem_is_still_one() -> None:
    page = httpx.Response(502, text="<html>bad gateway</html>", headers={"X-Request-Id": "r-3"})
    with pytest.raises(ServerError, match="bad gateway") as caught:
        Sync(Endpoint([page]), Clock())("models")
    assert (caught.value.type, caught.value.request_id) == ("about:blank", "r-3")


@BOTH
@pytest.mark.parametrize("body", ["[]", "{}", "<html>", ""])
def test_an_answer_of_something_else_is_an_error(kind: Kind, body: str) -> None:
    with pytest.raises(ClientError, match="is it an aiplat endpoint"):
        kind(Endpoint([httpx.Response(200, text=body)]), Clock())("models")


@pytest.mark.parametrize("url", ["", "host:8000", "ftp://host", "http://", "http://a:b"])
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ClientError, match="the endpoint's URL is"):
        Client(url)


def test_an_endpoint_that_is_not_there_is_told_of() -> None:
    with (
        Client("http://127.0.0.1:9", retries=ONCE) as client,
        pytest.raises(
            ConnectionFailedError, match=r"http://127.0.0.1:9/v1/models gave no answer in 1 tries"
        ),
    ):
        client.models()


def test_the_client_and_the_app_understand_each_other(
    app: Any, png: Callable[..., bytes], tmp_path: Path
) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(png(255))

    async def scene() -> None:
        async with AsyncClient(
            "http://app", transport=httpx.ASGITransport(app), retries=ONCE
        ) as client:
            assert [model.name for model in await client.models()] == ["reds"]
            model = await client.describe("reds")
            assert (model.labels, model.metrics["test"]["accuracy"]) == (("red", "not"), 0.5)
            assert model.inputs[3].choices == ("owner", "tenant")
            assert [field.required for field in model.inputs] == [True, True, False, False]
            rows = [model.example, {"image": png(0), "text": "a"}, {"image": file, "text": "b"}]
            found = await client.predict("reds", rows)
            assert [row["probabilities"]["red"] for row in found.rows[1:]] == [0, 1]
            assert found.version == model.version
            assert found.request_id
            with pytest.raises(InvalidRequestError) as caught:
                await client.predict("reds", [{"image": b"hello", "text": 7}])
            assert caught.value.field == "inputs[0].image"
            assert caught.value.errors[1] == FieldProblem(
                "inputs[0].text", "must be a string, got a number (7)"
            )
            with pytest.raises(NotFoundError, match="did you mean 'reds'"):
                await client.predict("rads", [])

    asyncio.run(scene())
