import asyncio
import base64
import json
import logging
from collections.abc import Callable, Sequence

import httpx
import pytest
from fastapi.testclient import TestClient

from aiplat.serving.app import create_app
from aiplat.serving.config import ServingConfig
from aiplat.serving.metering.account import Account
from aiplat.serving.metering.prices import Price, PriceList
from aiplat.serving.metering.spool import SpoolError
from aiplat.serving.metering.usage import UsageRecord
from aiplat.serving.served import Answers, OverloadError, Row
from tests.serving.conftest import LocalModel

PREDICT = "/v1/models/reds:predict"


class Costly(LocalModel):
    """Its answers say what they took."""

    async def predict(self, rows: Sequence[Row]) -> Answers:
        answers = await super().predict(rows)
        return Answers("8", answers.rows, "replica-1", compute_s=0.25, queue_s=0.5)


class Busy(LocalModel):
    """Never answers."""

    async def predict(self, rows: Sequence[Row]) -> Answers:
        raise OverloadError("too many requests wait for reds")


def client_of(
    model: LocalModel, config: ServingConfig, record: Callable[[UsageRecord], None]
) -> TestClient:
    return TestClient(create_app({"reds": model}, config, record=record))


@pytest.fixture
def body(png: Callable[..., bytes]) -> dict[str, object]:
    row = {"image": base64.b64encode(png(255)).decode(), "text": "hot?"}
    return {"inputs": [row, row]}


def test_an_answered_request_is_taken_down_with_what_it_used(
    model: LocalModel, config: ServingConfig, body: dict[str, object]
) -> None:
    records: list[UsageRecord] = []
    costly = Costly(model.info, model.predictor)
    response = client_of(costly, config, records.append).post(PREDICT, json=body)
    (record,) = records
    assert response.json()["prediction_id"] == record.prediction_id
    assert (record.endpoint, record.version, record.replica) == ("reds", "8", "replica-1")
    assert (record.status, record.rows) == (200, 2)
    assert (record.compute_s, record.queue_s) == (0.25, 0.5)
    assert record.bytes_in == len(response.request.content)
    assert record.bytes_out == len(response.content)
    assert record.total_s > 0


def test_the_access_log_has_a_line_for_each_request(
    model: LocalModel,
    config: ServingConfig,
    body: dict[str, object],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "aiplat.access")
    client = client_of(Costly(model.info, model.predictor), config, lambda _: None)
    response = client.post(PREDICT, json=body, headers={"X-Request-Id": "mine"})
    (line,) = (json.loads(each.getMessage()) for each in caplog.records)
    assert (line["request_id"], line["model"], line["status"]) == ("mine", "reds:8", 200)
    assert line["prediction_id"] == response.json()["prediction_id"]
    assert (line["rows"], line["queue_ms"], line["compute_ms"]) == (2, 500, 250)


def test_a_request_that_is_wrong_is_taken_down_with_its_status(
    model: LocalModel, config: ServingConfig
) -> None:
    records: list[UsageRecord] = []
    client = client_of(model, config, records.append)
    assert client.post(PREDICT, json={"inputs": [{"text": 3}]}).status_code == 422
    assert [(record.status, record.rows) for record in records] == [(422, 0)]


def test_a_request_that_is_not_answered_is_taken_down_with_its_status(
    model: LocalModel, config: ServingConfig, body: dict[str, object]
) -> None:
    records: list[UsageRecord] = []
    client = client_of(Busy(model.info, model.predictor), config, records.append)
    assert client.post(PREDICT, json=body).status_code == 503
    assert [(record.status, record.rows) for record in records] == [(503, 2)]


class Slow(LocalModel):
    """Answers some day."""

    async def predict(self, rows: Sequence[Row]) -> Answers:
        self.asked.extend(rows)
        await asyncio.sleep(3600)
        raise NotImplementedError


def test_a_request_whose_client_left_is_taken_down_and_has_used_nothing(
    model: LocalModel, config: ServingConfig, body: dict[str, object]
) -> None:
    records: list[UsageRecord] = []
    slow = Slow(model.info, model.predictor)
    app = create_app({"reds": slow}, config, record=records.append)

    async def scene() -> None:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            asking = asyncio.create_task(client.post(PREDICT, json=body))
            while not slow.asked:
                await asyncio.sleep(0.001)
            # As Serve does when the connection is closed.
            asking.cancel()
            await asyncio.wait([asking])
        assert asking.cancelled()

    asyncio.run(asyncio.wait_for(scene(), 60))
    (record,) = records
    assert (record.status, record.rows, record.compute_s, record.replica) == (499, 2, 0, "")
    prices = PriceList(default=Price(per_1000_requests=9, per_compute_second=9))
    (charge,) = Account(prices).add(records).charges()
    assert (charge.requests, charge.refused, charge.amount) == (0, 1, 0)


def test_what_asks_no_model_is_not_taken_down(model: LocalModel, config: ServingConfig) -> None:
    records: list[UsageRecord] = []
    client = client_of(model, config, records.append)
    for path in ("/healthz", "/v1/models", "/v1/models/reds", "/nowhere"):
        client.get(path)
    client.post("/v1/models/greens:predict", json={})
    assert not records


def test_an_answer_that_cannot_be_accounted_for_is_held_back(
    model: LocalModel, config: ServingConfig, body: dict[str, object]
) -> None:
    def refuse(_: UsageRecord) -> None:
        raise SpoolError("the disk is full")

    response = client_of(model, config, refuse).post(PREDICT, json=body)
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "5"
    assert response.json()["detail"] == "the request cannot be accounted for just now"
    assert "predictions" not in response.text
