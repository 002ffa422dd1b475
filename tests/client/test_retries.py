from email.utils import formatdate

import httpx
import pytest

from aiplat.client import ClientError, RateLimitError, Retries, ServerError
from aiplat.client.retries import Send, Wait
from tests.client.endpoint import Async, Clock, Endpoint, Kind, Sync, answered, refused

BOTH = pytest.mark.parametrize("kind", [Sync, Async])
REQUEST = httpx.Request("GET", "http://host:1/")


@BOTH
@pytest.mark.parametrize(
    "trouble",
    [
        refused(429),
        refused(503),
        httpx.ConnectError("refused"),
        httpx.ReadError("reset"),
        httpx.RemoteProtocolError("gone"),
        httpx.ConnectTimeout("no route"),
    ],
)
def test_what_may_pass_is_tried_again(kind: Kind, trouble: httpx.Response | Exception) -> None:
    endpoint, clock = Endpoint([trouble, trouble, answered()]), Clock()
    assert kind(endpoint, clock)("predict", "reds", [{"text": "a"}]).rows == ({"label": "red"},)
    assert clock.waits == [0.25, 0.5]
    assert len({request.content for request in endpoint.asked}) == 1


@BOTH
@pytest.mark.parametrize(
    "trouble", [refused(422), refused(500), refused(504), httpx.ReadTimeout("slow")]
)
def test_what_would_end_the_same_is_not(kind: Kind, trouble: httpx.Response | Exception) -> None:
    endpoint, clock = Endpoint([trouble, answered()]), Clock()
    with pytest.raises(ClientError, match=r"not now|slow"):
        kind(endpoint, clock)("models")
    assert (len(endpoint.asked), clock.waits) == (1, [])


@BOTH
def test_waits_grow_to_a_limit_and_end_within_the_time_there_is(kind: Kind) -> None:
    endpoint, clock = Endpoint([refused(503)]), Clock()
    with pytest.raises(ServerError, match="not now") as caught:
        kind(endpoint, clock, longest_s=2, total_s=9)("models")
    assert clock.waits == [0.25, 0.5, 1, 2, 2, 2]
    assert caught.value.request_id == "r-2"


@BOTH
def test_a_longer_wait_than_there_is_time_for_is_not_begun(kind: Kind) -> None:
    endpoint, clock = Endpoint([refused(429, **{"Retry-After": "3600"})]), Clock()
    with pytest.raises(RateLimitError):
        kind(endpoint, clock)("models")
    assert clock.waits == []


def test_seconds_that_are_asked_for_are_waited_and_jitter_comes_after() -> None:
    clock = Clock()
    Sync(Endpoint([refused(503, **{"Retry-After": "7"}), answered()]), clock)("predict", "reds", [])
    assert clock.waits == [7.25]


def test_a_date_that_is_asked_for_is_waited_for() -> None:
    clock = Clock()
    until = formatdate(clock.now_s + 20, usegmt=True)
    Sync(Endpoint([refused(503, **{"Retry-After": until}), answered()]), clock)(
        "predict", "reds", []
    )
    assert clock.waits == [20.25]


def test_the_endpoints_own_clock_counts_where_it_tells_it() -> None:
    clock = Clock()
    headers = {
        "Retry-After": formatdate(clock.now_s - 990, usegmt=True),
        "Date": formatdate(clock.now_s - 1000, usegmt=True),
    }
    Sync(Endpoint([refused(503, **headers), answered()]), clock)("predict", "reds", [])
    assert clock.waits == [10.25]


@pytest.mark.parametrize("asked", ["", "soon", "-3", "1e9", "9" * 12, "Mon, 99 Foo 2026", "²"])
def test_nonsense_that_is_asked_for_is_passed_over(asked: str) -> None:
    clock = Clock()
    headers = [(b"Retry-After", asked.encode())]
    busy = httpx.Response(503, headers=headers, json={})
    Sync(Endpoint([busy, answered()]), clock)("predict", "reds", [])
    assert clock.waits == [0.25]


def test_waits_are_spread_from_nothing_to_their_limit() -> None:
    waits = []
    for _ in range(200):
        exchange = Retries(first_s=1).exchange(REQUEST, 1)
        next(exchange)
        waits.append(waited(exchange.send(refused(503))))
    assert 0 <= min(waits) < 0.1
    assert 0.9 < max(waits) <= 1


def test_no_try_may_take_longer_than_the_call() -> None:
    clock = Clock()
    exchange = clock.retries(total_s=10, first_s=4).exchange(REQUEST, 8)
    given = [next(exchange)]
    clock.sleep(waited(exchange.send(httpx.ConnectError("refused"))))
    given.append(next(exchange))
    assert given == [Send(REQUEST, 8), Send(REQUEST, 6)]


def waited(step: Send | Wait) -> float:
    assert isinstance(step, Wait)
    return step.seconds
