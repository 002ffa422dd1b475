"""The endpoint's OpenAPI document says what the endpoint does; schemathesis holds it to that.

Its command is in docs/guide/clients.md: it takes a minute, and a server.
"""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

METHODS = ("delete", "get", "patch", "post", "put")


@pytest.fixture
def document(client: TestClient) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/openapi.json").json()
    return found


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                yield path, item[method]


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def test_every_operation_says_how_it_refuses(document: dict[str, Any]) -> None:
    paths = [path for path, _ in operations(document)]
    assert {"/v1/models", "/v1/models/reds:predict", "/v2", "/v2/models/{name}/infer"} <= {*paths}
    for path, operation in operations(document):
        refusal = operation["responses"]["4XX"]["content"]
        assert list(refusal) == ["application/problem+json"], path
        assert "422" not in operation["responses"], path
        asked = path.endswith((":predict", "/infer"))
        assert ({"503", "504"} <= operation["responses"].keys()) == asked, path


def test_names_in_paths_are_parameters_and_no_reference_leads_nowhere(
    document: dict[str, Any],
) -> None:
    for path, operation in operations(document):
        given = {item["name"] for item in operation.get("parameters", ()) if item["in"] == "path"}
        assert given == set(re.findall(r"{(\w+)}", path)), path
    names = [operation["operationId"] for _, operation in operations(document)]
    assert len(names) == len(set(names))
    for reference in references(document):
        assert reference.rsplit("/", 1)[1] in document["components"]["schemas"]


def test_a_refusal_is_what_the_document_says(client: TestClient, document: dict[str, Any]) -> None:
    operation = document["paths"]["/v2/models/{name}/infer"]["post"]
    schema = operation["responses"]["4XX"]["content"]["application/problem+json"]["schema"]
    problem = client.post("/v2/models/reds/infer", json={"inputs": [{}]}).json()
    assert set(schema["required"]) <= problem.keys() <= schema["properties"].keys()
