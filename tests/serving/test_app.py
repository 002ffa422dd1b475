import asyncio
import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from aiplat.errors import ConfigError
from aiplat.serving.app import create_app
from aiplat.serving.config import ServingConfig
from aiplat.serving.served import Answers, Fault, OverloadError, RowsError

PREDICT = "/v1/models/reds:predict"
MakePng = Callable[..., bytes]


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_a_json_request_is_answered_row_by_row(client: TestClient, png: MakePng) -> None:
    rows = [
        {"image": encoded(png(255)), "text": "hot?", "age": 3},
        {"image": encoded(png(0)), "text": "cold?", "home": "owner"},
    ]
    response = client.post(PREDICT, json={"inputs": rows})
    assert response.status_code == 200
    assert response.headers["X-Model-Version"] == "7"
    body = response.json()
    assert (body["model"], body["version"]) == ("reds", "7")
    assert body["prediction_id"] == response.headers["X-Prediction-Id"]
    first, second = body["predictions"]
    assert first["probabilities"] == {"red": 1.0, "not": 0.0}
    assert second["probabilities"] == {"red": 0.0, "not": 1.0}
    assert (first["text"], first["age"], first["home"]) == ("hot?", 3.0, None)
    assert (second["text"], second["age"], second["home"]) == ("cold?", None, "owner")


@pytest.mark.parametrize("file_format", ["BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP"])
def test_a_form_and_json_give_the_same_answer(
    client: TestClient, png: MakePng, file_format: str
) -> None:
    image = png(100, file_format=file_format)
    row = {"image": encoded(image), "text": "hot?", "age": 3.5, "home": "tenant"}
    by_json = client.post(PREDICT, json={"inputs": [row]})
    by_form = client.post(
        PREDICT,
        data={"text": "hot?", "age": "3.5", "home": "tenant"},
        files={"image": ("photo.bin", image)},
    )
    assert by_form.status_code == 200
    assert by_form.json()["predictions"] == by_json.json()["predictions"]


def test_images_of_a_form_share_a_text_given_once(client: TestClient, png: MakePng) -> None:
    files = [("image", (f"{red}.png", png(red))) for red in (0, 51, 255)]
    shared = client.post(PREDICT, data={"text": "hot?"}, files=files).json()["predictions"]
    assert [row["probabilities"]["red"] for row in shared] == [0, 0.2, 1]
    assert [row["text"] for row in shared] == ["hot?"] * 3
    own = client.post(PREDICT, data={"text": ["a", "b", "c"]}, files=files).json()["predictions"]
    assert [row["text"] for row in own] == ["a", "b", "c"]


def test_an_image_of_a_form_is_shared_by_its_texts(client: TestClient, png: MakePng) -> None:
    response = client.post(PREDICT, data={"text": ["a", "b"]}, files={"image": png(255)})
    assert [row["text"] for row in response.json()["predictions"]] == ["a", "b"]


def test_fields_left_blank_in_a_form_are_missing(client: TestClient, png: MakePng) -> None:
    blank = {"text": "", "age": " ", "home": ""}
    (row,) = client.post(PREDICT, data=blank, files={"image": png()}).json()["predictions"]
    assert (row["text"], row["age"], row["home"]) == ("", None, None)


def test_base64_may_be_a_data_url_or_broken_into_lines(client: TestClient, png: MakePng) -> None:
    text = encoded(png(255))
    for image in (f"data:image/png;base64,{text}", "\n".join((text[:20], text[20:], ""))):
        response = client.post(PREDICT, json={"inputs": [{"image": image, "text": ""}]})
        assert response.json()["predictions"][0]["probabilities"]["red"] == 1.0


def test_the_example_of_a_model_works_as_it_is(client: TestClient) -> None:
    described = client.get("/v1/models/reds").json()
    assert client.post(PREDICT, json=described["example"]).status_code == 200
    operation = client.get("/openapi.json").json()["paths"][PREDICT]["post"]
    content = operation["requestBody"]["content"]
    assert content["application/json"]["example"] == described["example"]
    schema = content["application/json"]["schema"]["properties"]["inputs"]
    assert schema["maxItems"] == 4
    assert schema["items"]["required"] == ["image", "text"]
    assert schema["items"]["properties"]["home"]["enum"] == ["owner", "tenant"]
    assert content["multipart/form-data"]["schema"]["properties"]["image"]["format"] == "binary"


def test_models_are_listed_and_described(client: TestClient) -> None:
    listed = client.get("/v1/models").json()
    assert listed == {"models": [{"name": "reds", "version": "7", "dataset": "colours@1234"}]}
    described = client.get("/v1/models/reds").json()
    assert described["labels"] == ["red", "not"]
    assert described["metrics"] == {"test": {"accuracy": 0.5, "auc": None}}
    assert [field["name"] for field in described["inputs"]] == ["image", "text", "age", "home"]
    assert [field["kind"] for field in described["outputs"]] == ["label", "probabilities"]


def test_the_docs_page_needs_nothing_from_outside(client: TestClient) -> None:
    response = client.get("/")
    assert response.url.path == "/docs"
    assert "openapi.json" in response.text
    assert "http" not in response.text.replace("http-equiv", "")


def test_health_and_readiness_differ(client: TestClient, model: Any) -> None:
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").json() == {"status": "ready", "models": {"reds": True}}
    model.is_ready = False
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.json() == {"status": "not ready", "models": {"reds": False}}
    assert client.get("/healthz").status_code == 200


def test_a_request_id_is_kept_or_given(client: TestClient) -> None:
    assert client.get("/healthz", headers={"X-Request-Id": "a-1"}).headers["X-Request-Id"] == "a-1"
    given = client.get("/healthz").headers["X-Request-Id"]
    assert len(given) == 32
    odd = client.get("/healthz", headers={"X-Request-Id": "<script>" + "a" * 200})
    assert "<" not in odd.headers["X-Request-Id"]
    problem = client.get("/nowhere", headers={"X-Request-Id": "a-2"})
    assert problem.json()["request_id"] == problem.headers["X-Request-Id"] == "a-2"


def test_a_proxy_that_adds_the_request_id_is_left_to_it(model: Any, config: ServingConfig) -> None:
    client = TestClient(create_app({"reds": model}, config, echo_request_id=False))
    response = client.get("/nowhere", headers={"X-Request-Id": "a-1"})
    assert "X-Request-Id" not in response.headers
    assert response.json()["request_id"] == "a-1"


def test_a_bug_in_the_model_is_a_500_that_tells_where_to_look(
    make_model: Callable[..., Any], config: ServingConfig, caplog: pytest.LogCaptureFixture
) -> None:
    def buggy(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        raise KeyError("secret path")

    client = TestClient(create_app({"reds": make_model(buggy)}, config))
    example = client.get("/v1/models/reds").json()["example"]
    response = client.post(PREDICT, json=example, headers={"X-Request-Id": "a-1"})
    assert response.status_code == 500
    assert response.headers["content-type"] == "application/problem+json"
    assert "secret" not in response.text
    assert "a-1" in response.json()["detail"]
    assert "secret path" in caplog.text
    assert client.get("/healthz").status_code == 200


def test_a_row_that_no_single_field_spoils_is_named(
    make_model: Callable[..., Any], config: ServingConfig
) -> None:
    def refuses_blank(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        fault = Fault(None, "neither of the fields says anything")
        raise RowsError({index: fault for index, row in enumerate(rows) if not row["text"]})

    client = TestClient(create_app({"reds": make_model(refuses_blank)}, config))
    row = client.get("/v1/models/reds").json()["example"]["inputs"][0]
    problem = client.post(PREDICT, json={"inputs": [row, row | {"text": ""}]}).json()
    assert problem["status"] == 422
    assert problem["errors"] == [
        {"field": "inputs[1]", "detail": "neither of the fields says anything"}
    ]


def test_an_answer_that_is_not_finite_is_the_rows_fault(
    make_model: Callable[..., Any], config: ServingConfig
) -> None:
    def squares(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{"vector": [row["age"] * row["age"] * 1e300]} for row in rows]

    client = TestClient(create_app({"reds": make_model(squares)}, config))
    row = client.get("/v1/models/reds").json()["example"]["inputs"][0]
    response = client.post(PREDICT, json={"inputs": [row, row | {"age": 1e30}]})
    assert response.status_code == 422
    assert response.json()["field"] == "inputs[1]"


def test_an_overloaded_model_asks_to_come_back(model: Any, config: ServingConfig) -> None:
    async def overloaded(rows: list[dict[str, Any]]) -> Answers:
        raise OverloadError("128 requests are waiting for reds", retry_after_s=3)

    model.predict = overloaded
    client = TestClient(create_app({"reds": model}, config))
    response = client.post(PREDICT, json=client.get("/v1/models/reds").json()["example"])
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "3"
    assert response.json()["detail"] == "128 requests are waiting for reds"


def test_a_model_that_takes_too_long_is_not_waited_for(model: Any) -> None:
    async def slow(rows: list[dict[str, Any]]) -> Answers:
        await asyncio.Event().wait()
        raise AssertionError

    model.predict = slow
    client = TestClient(create_app({"reds": model}, ServingConfig(request_timeout_s=0.01)))
    response = client.post(PREDICT, json=client.get("/v1/models/reds").json()["example"])
    assert response.status_code == 504
    assert "serve.request_timeout_s" in response.json()["detail"]


def test_a_body_beyond_the_limit_is_not_read_to_its_end(model: Any, config: ServingConfig) -> None:
    """Without an announced length the limit can only be noticed while reading."""
    app = create_app({"reds": model}, config)
    scope = {
        "type": "http",
        "method": "POST",
        "path": PREDICT,
        "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
    }
    sent: list[Any] = []
    num_chunks = 0

    async def receive() -> dict[str, Any]:
        nonlocal num_chunks
        num_chunks += 1
        return {"type": "http.request", "body": b"[" * 100_000, "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    assert num_chunks == 6
    assert sent[0]["status"] == 413
    problem = json.loads(sent[1]["body"])
    assert problem["type"] == "urn:aiplat:problem:body-too-large"
    assert "0.5 MB (serve.max_body_mb)" in problem["detail"]


def test_a_model_name_that_is_no_path_is_refused(model: Any, config: ServingConfig) -> None:
    with pytest.raises(ConfigError, match="a/b"):
        create_app({"a/b": model}, config)
