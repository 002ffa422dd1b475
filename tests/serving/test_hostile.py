"""Whatever is sent, no answer is our failure, and none takes long."""

import json
import logging
import random
import re
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from aiplat.serving.app import create_app
from aiplat.serving.config import ServingConfig
from aiplat.serving.fields import Allowance, nearest, read_row
from benchmarks.hostile.requests import Target, hostile
from benchmarks.hostile.wire import wire
from tests.serving.conftest import INPUTS
from tests.serving.running import running

NUM_REQUESTS = 300
# Not a measurement: what takes longer has met something that has no end on a busy machine.
LONGEST_S = 30.0


@pytest.fixture
def target(client: TestClient) -> Target:
    described = client.get("/v1/models/reds").json()
    kinds = {field["name"]: field["kind"] for field in described["inputs"]}
    return Target("reds", kinds, described["example"]["inputs"][0])


# Starlette leaves the file of a part that is cut off to be closed when it is forgotten.
@pytest.mark.filterwarnings("ignore:Unclosed file:ResourceWarning")
@pytest.mark.parametrize("seed", range(2))
def test_no_request_is_our_failure(client: TestClient, target: Target, seed: int) -> None:
    chance = random.Random(seed)
    seen: Counter[tuple[str, int]] = Counter()
    for _ in range(NUM_REQUESTS):
        request = hostile(chance, target)
        begin = time.perf_counter()
        response = client.request(
            request.method,
            request.path,
            content=request.content,
            headers=request.headers,
            follow_redirects=False,
        )
        took_s = time.perf_counter() - begin
        seen[request.maker, response.status_code] += 1
        told = f"{request.maker} {request.method} {request.path[:100]} {request.content[:300]!r}"
        assert response.status_code < 500, told
        assert took_s < LONGEST_S, told
        if response.status_code >= 400 and request.method != "HEAD":
            assert json.loads(response.content)["status"] == response.status_code, told
            assert len(response.content) < 20_000, told
    # Not all are refused at the door: some go as far as the model.
    assert seen["rows", 422] > seen["rows", 200] > 0
    assert {status for _, status in seen} >= {200, 400, 404, 405, 415, 422}


@pytest.fixture(scope="module")
def port(make_model: Callable[..., Any]) -> Iterator[int]:
    config = ServingConfig(max_body_mb=0.5, request_timeout_s=0.3)
    with running(create_app({"reds": make_model()}, config)) as port:
        yield port


def said(port: int, sent: bytes, is_closed: bool = True) -> bytes:
    """All that a server answers to bytes on a new connection. is_closed: none come after them."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(sent)
        if is_closed:
            connection.shutdown(socket.SHUT_WR)
        answer = b""
        try:
            while data := connection.recv(65_536):
                answer += data
        except ConnectionResetError:
            pass
        return answer


def test_bytes_that_are_no_request_are_no_failure_either(
    port: int, caplog: pytest.LogCaptureFixture
) -> None:
    chance = random.Random(0)
    with caplog.at_level(logging.ERROR):
        for _ in range(100):
            sent = wire(chance, Target("reds", {}, {}))
            begin = time.perf_counter()
            answer = said(port, sent)
            assert time.perf_counter() - begin < LONGEST_S, sent[:300]
            assert not re.search(rb"^HTTP/1.1 5", answer, re.MULTILINE), sent[:300]
    assert caplog.text == ""
    assert said(port, b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n") != b""


def test_a_body_that_does_not_come_is_not_waited_for(port: int) -> None:
    head = "POST /v1/models/reds:predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    begin = time.perf_counter()
    answer = said(port, f"{head}Content-Length: 100\r\n\r\n{{".encode(), is_closed=False)
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"serve.request_timeout_s" in answer
    assert 0.3 < time.perf_counter() - begin < LONGEST_S


def test_a_compressed_body_is_refused_unread(client: TestClient) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    response = client.post("/v1/models/reds:predict", content=b"\x1f\x8b", headers=headers)
    assert response.status_code == 415
    assert response.headers["Accept-Encoding"] == "identity"
    assert "is compressed (gzip)" in response.json()["detail"]


def test_of_many_wrong_names_only_some_are_looked_at() -> None:
    """To look for what is near each of a million names would take minutes."""
    row = {str(number): 1 for number in range(1000)}
    _, problems = read_row("inputs[0]", row, INPUTS, Allowance(100, 100))
    assert len([problem for problem in problems if "is not a field" in problem.detail]) == 20
    # Nor is all of a long one compared, or of a long list repeated.
    assert nearest("x" * 101, ["x" * 100]) == f" (it has: {'x' * 100})"
    assert nearest("a", [str(number) for number in range(5000)]).endswith("18, 19 and 4980 more)")
