"""The endpoint, asked with keys of all kinds."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response

from aiplat.errors import RecordsError
from aiplat.serving.app import create_app
from aiplat.serving.config import ServingConfig
from aiplat.serving.gate import Caller
from aiplat.serving.keys.addresses import network
from aiplat.serving.keys.gate import KeyGate
from aiplat.serving.keys.key import Rights
from aiplat.serving.keys.known import KnownKeys
from aiplat.serving.keys.store import Counts, KeyStore, Snapshot
from tests.serving.conftest import LocalModel
from tests.serving.keys.conftest import Clock

PREDICT = "/v1/models/reds:predict"
PROXY = "10.9.9.9"


class Endpoint:
    """An app with a gate over a database of keys, asked in this process."""

    def __init__(self, models: dict[str, LocalModel], store: KeyStore, clock: Clock) -> None:
        self.store, self.clock = store, clock
        self.known = KnownKeys(store, clock=clock, ticks=clock)
        self.gate = KeyGate(self.known, [network(PROXY)], max_age_s=300, clock=clock, ticks=clock)
        self.app = create_app(models, ServingConfig(), gate=self.gate)
        self.client = TestClient(self.app, client=("192.0.2.1", 50000))

    def key(self, rights: Rights | None = None, **values: Any) -> str:
        """The text of a new key, which the endpoint knows."""
        text = self.store.create("acme", rights or Rights(), **values)[1]
        self.refresh()
        return text

    def refresh(self) -> None:
        portal = self.client.portal
        assert portal is not None
        portal.call(self.known.refresh)

    def ask(self, key: str | None = None, path: str = "/v1/models", **headers: str) -> Response:
        given = {} if key is None else {"Authorization": f"Bearer {key}"}
        return self.client.get(path, headers=given | headers)


@pytest.fixture
def endpoint(
    make_model: Callable[..., LocalModel], store: KeyStore, clock: Clock
) -> Iterator[Endpoint]:
    made = Endpoint({"reds": make_model()}, store, clock)
    with made.client:
        made.refresh()
        yield made


def test_a_prediction_with_a_key_is_answered_and_one_without_is_not(
    endpoint: Endpoint, png: Callable[..., bytes]
) -> None:
    key = endpoint.key()
    form: dict[str, Any] = {"files": {"image": png()}, "data": {"text": "is it?"}}
    answered = endpoint.client.post(PREDICT, headers={"Authorization": f"Bearer {key}"}, **form)
    assert answered.json()["predictions"][0]["label"] == "red"
    refused = endpoint.client.post(PREDICT, **form)
    assert refused.status_code == 401
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.headers["www-authenticate"] == 'Bearer realm="aiplat"'
    body = refused.json()
    assert body["type"] == "urn:aiplat:problem:key-missing"
    assert "send it as 'Authorization: Bearer aip_...'" in body["detail"]


def test_either_header_will_do(endpoint: Endpoint) -> None:
    key = endpoint.key()
    headers = [
        {"Authorization": f"Bearer {key}"},
        {"authorization": f"bearer  {key} "},
        {"X-API-Key": key},
        {"Authorization": "Basic eDp5", "x-api-key": key},
    ]
    statuses = [endpoint.client.get("/v1/models", headers=given).status_code for given in headers]
    assert statuses == [200] * 4


def test_the_body_of_who_is_refused_is_not_read(endpoint: Endpoint) -> None:
    # Longer than any that is read.
    answer = endpoint.client.post(PREDICT, content=b"{" * 17_000_000)
    assert answer.status_code == 401
    assert endpoint.gate.refusals == {"missing": 1}


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/docs", "/openapi.json", "/"])
def test_health_and_pages_are_for_everybody(endpoint: Endpoint, path: str) -> None:
    assert endpoint.client.get(path).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/models"),
        ("GET", "/v1/models/reds"),
        ("GET", "/v1/models/none"),
        ("GET", PREDICT),
        ("POST", PREDICT),
        ("POST", "/v1/models/none:predict"),
    ],
)
def test_what_there_is_to_ask_is_told_to_those_with_a_key(
    endpoint: Endpoint, method: str, path: str
) -> None:
    assert endpoint.client.request(method, path).status_code == 401


@pytest.mark.parametrize(
    "text",
    ["", "aip_", "x", "aip_k3v0q9x2ab_" + "0" * 64, "aip_" + "é".encode().decode("latin1") * 9],
)
def test_a_key_that_is_none_of_ours_is_refused(endpoint: Endpoint, text: str) -> None:
    endpoint.key()
    answer = endpoint.client.get("/v1/models", headers={b"X-API-Key": text.encode("latin1")})
    assert answer.status_code == 401
    assert endpoint.gate.refusals.total() == 1


def test_a_right_prefix_with_a_wrong_secret_is_as_unknown_as_any(endpoint: Endpoint) -> None:
    key = endpoint.key()
    wrong = key[:-1] + ("0" if key[-1] != "0" else "1")
    nobodys = f"aip_k3v0q9x2ab_{'0' * 64}"
    answers = [endpoint.ask(text) for text in (wrong, nobodys)]
    bodies = [answer.json() | {"request_id": ""} for answer in answers]
    assert bodies[0] == bodies[1]
    assert answers[0].headers["www-authenticate"] == answers[1].headers["www-authenticate"]
    assert 'error="invalid_token"' in answers[0].headers["www-authenticate"]


def test_a_revoked_key_is_refused_and_so_is_one_whose_time_is_over(
    endpoint: Endpoint, clock: Clock
) -> None:
    revoked, short = endpoint.key(), endpoint.key(expires_at=clock.now + 60)
    assert [endpoint.ask(key).status_code for key in (revoked, short)] == [200, 200]
    endpoint.store.revoke(revoked.split("_")[1])
    clock.now += 60
    endpoint.refresh()
    answers = [endpoint.ask(key) for key in (revoked, short)]
    assert [answer.status_code for answer in answers] == [401, 401]
    assert "was revoked" in answers[0].json()["detail"]
    assert "expired at 2026-11-22 15:31 UTC" in answers[1].json()["detail"]
    assert endpoint.gate.refusals == {"revoked": 1, "expired": 1}


def test_a_rotated_key_works_until_its_grace_is_over(endpoint: Endpoint, clock: Clock) -> None:
    old = endpoint.key()
    new = endpoint.store.rotate(old.split("_")[1], grace_s=10)[1]
    endpoint.refresh()
    assert [endpoint.ask(key).status_code for key in (old, new)] == [200, 200]
    clock.now += 10
    assert [endpoint.ask(key).status_code for key in (old, new)] == [401, 200]


def test_a_key_asks_the_models_in_its_scope(endpoint: Endpoint) -> None:
    mine, other = endpoint.key(Rights(scopes=("reds",))), endpoint.key(Rights(scopes=("blues",)))
    assert endpoint.ask(mine, "/v1/models/reds").status_code == 200
    refused = endpoint.ask(other, "/v1/models/reds")
    assert refused.status_code == 403
    assert "may not ask 'reds', only blues" in refused.json()["detail"]
    assert endpoint.ask(other).status_code == 200
    # Whether there is such a model is nobody's business who may not ask it.
    assert endpoint.ask(other, "/v1/models/greens").status_code == 403
    assert endpoint.ask(other, "/v1/models/blues").status_code == 404
    assert endpoint.client.post(PREDICT, headers={"X-API-Key": other}).status_code == 403


@pytest.mark.parametrize(
    ("cidrs", "client", "forwarded", "status"),
    [
        (["192.0.2.0/24"], "192.0.2.1", None, 200),
        (["192.0.2.0/24"], "::ffff:192.0.2.1", None, 200),
        (["192.0.2.0/24", "2001:db8::/32"], "2001:db8::1", None, 200),
        (["192.0.2.0/24"], "2001:db8::1", None, 403),
        (["192.0.2.0/24"], "198.51.100.1", "192.0.2.1", 403),
        (["192.0.2.0/24"], PROXY, "192.0.2.1", 200),
        (["192.0.2.0/24"], PROXY, "192.0.2.1, 198.51.100.1", 403),
        (["192.0.2.0/24"], PROXY, None, 403),
        (["0.0.0.0/0"], "testclient", None, 403),
        ([], "testclient", None, 200),
    ],
)
def test_a_key_is_used_from_its_networks(
    endpoint: Endpoint, cidrs: list[str], client: str, forwarded: str | None, status: int
) -> None:
    key = endpoint.key(Rights(cidrs=tuple(map(network, cidrs))))
    # The lifespan of the app runs already.
    caller = TestClient(endpoint.app, client=(client, 50000))
    headers = {"X-API-Key": key} | ({"X-Forwarded-For": forwarded} if forwarded else {})
    answer = caller.get("/v1/models", headers=headers)
    assert answer.status_code == status
    assert endpoint.gate.refusals["address"] == (status == 403)


def test_a_rate_is_kept_and_the_client_told_when_to_come_back(
    endpoint: Endpoint, clock: Clock
) -> None:
    key = endpoint.key(Rights(rate=0.25, burst=3))
    assert [endpoint.ask(key).status_code for _ in range(4)] == [200, 200, 200, 429]
    clock.now += 1.5
    refused = endpoint.ask(key)
    assert refused.headers["retry-after"] == "3"
    assert refused.json()["type"] == "urn:aiplat:problem:key-rate"
    assert "may ask 0.25 times a second, 3 times at once" in refused.json()["detail"]
    clock.now += 3
    assert [endpoint.ask(key).status_code for _ in range(2)] == [200, 429]
    assert endpoint.gate.refusals == {"rate": 3}
    # Another key has a rate of its own.
    assert endpoint.ask(endpoint.key(Rights(rate=0.25))).status_code == 200


def test_replicas_share_a_rate(endpoint: Endpoint, clock: Clock) -> None:
    key = endpoint.key(Rights(rate=10, burst=8))
    endpoint.known.num_replicas = 4
    assert [endpoint.ask(key).status_code for _ in range(3)] == [200, 200, 429]
    clock.now += 1
    assert [endpoint.ask(key).status_code for _ in range(3)] == [200, 200, 429]


def test_an_old_and_a_new_key_share_a_rate_and_a_quota(endpoint: Endpoint, clock: Clock) -> None:
    old = endpoint.key(Rights(rate=1, burst=2, quota=3))
    new = endpoint.store.rotate(old.split("_")[1], grace_s=60)[1]
    endpoint.refresh()
    assert [endpoint.ask(key).status_code for key in (old, new, old)] == [200, 200, 429]
    clock.now += 2
    assert [endpoint.ask(key).status_code for key in (old, new)] == [200, 429]
    assert endpoint.gate.refusals == {"rate": 1, "quota": 1}


def test_a_quota_lasts_until_the_next_month(endpoint: Endpoint, clock: Clock) -> None:
    key = endpoint.key(Rights(quota=3))
    assert [endpoint.ask(key).status_code for _ in range(2)] == [200, 200]
    endpoint.refresh()
    refused = [endpoint.ask(key) for _ in range(2)][1]
    assert refused.status_code == 429
    # To the first of December.
    assert refused.headers["retry-after"] == str(8 * 86400 + 8 * 3600 + 1800)
    assert "has used its 3 requests of 2026-11 (UTC)" in refused.json()["detail"]
    endpoint.refresh()
    assert endpoint.store.used() == {key.split("_")[1]: 3}
    clock.now += int(refused.headers["retry-after"]) - 1
    endpoint.refresh()
    assert endpoint.ask(key).status_code == 429
    clock.now += 1
    assert endpoint.ask(key).status_code == 200


def test_what_other_replicas_counted_is_counted_here_after_the_next_reading(
    endpoint: Endpoint,
) -> None:
    key = endpoint.key(Rights(quota=10))
    other = KeyStore(endpoint.store._records, endpoint.clock)
    other.exchange({(key.split("_")[1], "2026-11"): 9})
    endpoint.refresh()
    assert [endpoint.ask(key).status_code for _ in range(2)] == [200, 429]


def test_who_asked_is_told_to_what_comes_after(endpoint: Endpoint) -> None:
    seen: list[Any] = []

    async def metered(scope: Any, receive: Any, send: Any) -> None:
        await endpoint.app(scope, receive, send)
        seen.append(scope["state"].get("caller"))

    key = endpoint.key(Rights(rate=0.1))
    caller = Caller(key.split("_")[1], "acme")
    fresh = TestClient(metered)
    for given in (key, key, "nobody"):
        fresh.get("/v1/models", headers={"X-API-Key": given})
    # One that is refused for its limits is still known.
    assert seen == [caller, caller, None]


def test_the_schema_tells_of_keys_and_refusals(endpoint: Endpoint) -> None:
    api = endpoint.client.get("/openapi.json").json()
    schemes = api["components"]["securitySchemes"]
    assert schemes["bearer"]["scheme"] == "bearer"
    assert (schemes["header"]["in"], schemes["header"]["name"]) == ("header", "X-API-Key")
    for path, method in [(PREDICT, "post"), ("/v1/models", "get"), ("/v1/models/{name}", "get")]:
        operation = api["paths"][path][method]
        # Either of them, not both.
        assert operation["security"] == [{"bearer": []}, {"header": []}]
        assert {"401", "403", "429"} <= set(operation["responses"])
    assert "security" not in api["paths"]["/healthz"]["get"]


def test_without_a_gate_the_schema_asks_for_no_key(client: TestClient) -> None:
    api = client.get("/openapi.json").json()
    assert "securitySchemes" not in api.get("components", {})
    assert "401" not in api["paths"][PREDICT]["post"]["responses"]


class Unreachable(KeyStore):
    """A database that can be cut off."""

    is_cut = False

    def exchange(self, counts: Counts) -> Snapshot:
        if self.is_cut:
            raise RecordsError("the database of keys cannot be asked: no route to db:5432")
        return super().exchange(counts)


@pytest.fixture
def cut(endpoint: Endpoint) -> Iterator[Unreachable]:
    store = Unreachable(endpoint.store._records, endpoint.clock)
    endpoint.known._store = store
    yield store
    store.is_cut = False


def fail_to_refresh(endpoint: Endpoint) -> None:
    with pytest.raises(RecordsError):
        endpoint.refresh()


def test_known_keys_work_on_for_a_while_when_the_database_is_gone(
    endpoint: Endpoint, cut: Unreachable, clock: Clock
) -> None:
    key = endpoint.key(Rights(quota=1000))
    cut.is_cut = True
    fail_to_refresh(endpoint)
    clock.now += 300
    assert endpoint.ask(key).status_code == 200
    clock.now += 1
    refused = endpoint.ask(key)
    assert refused.status_code == 503
    assert refused.headers["retry-after"] == "5"
    assert refused.json()["type"] == "urn:aiplat:problem:key-unchecked"
    assert "has not answered for 301 s" in refused.json()["detail"]
    assert "db:5432" not in refused.text
    assert endpoint.gate.refusals == {"unchecked": 1}
    cut.is_cut = False
    endpoint.refresh()
    assert endpoint.ask(key).status_code == 200
    endpoint.refresh()
    # What was counted meanwhile is written down when it can be.
    assert endpoint.store.used() == {key.split("_")[1]: 2}


def test_a_key_that_may_be_new_is_not_called_unknown_while_the_database_is_gone(
    endpoint: Endpoint, cut: Unreachable
) -> None:
    cut.is_cut = True
    fail_to_refresh(endpoint)
    nobodys = f"aip_k3v0q9x2ab_{'0' * 64}"
    assert endpoint.ask(nobodys).status_code == 503
    assert endpoint.ask("no key at all").status_code == 401
