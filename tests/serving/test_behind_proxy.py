"""Who the client is where HAProxy stands before a replica, as uvicorn and our layer see it."""

import asyncio
from typing import Any, cast

import pytest
from starlette.datastructures import Headers
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from aiplat.serving.keys.addresses import address_of, client_address, network
from aiplat.serving.middleware import BehindProxy

LOOPBACK = ("127.0.0.1", 40000)
LOAD_BALANCER = (network("10.0.0.0/8"),)


def seen(peer: tuple[str, int], *forwarded: str) -> tuple[tuple[str, int], list[str]]:
    """The client and what it forwards, behind uvicorn's layer and ours."""
    scopes: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)

    headers = [(b"host", b"x"), *((b"x-forwarded-for", hop.encode()) for hop in forwarded)]
    scope = {"type": "http", "client": peer, "headers": headers}
    layers = ProxyHeadersMiddleware(cast("Any", BehindProxy(app)), "127.0.0.1,::1")
    asyncio.run(layers(cast("Any", scope), cast("Any", None), cast("Any", None)))
    (found,) = scopes
    return found["client"], Headers(scope=found).getlist("x-forwarded-for")


@pytest.mark.parametrize("client", ["127.0.0.1", "203.0.113.9", "::1", "2001:db8::9"])
@pytest.mark.parametrize("told", [[], ["10.1.1.1"], ["10.1.1.1, 127.0.0.1"], ["10.1.1.1", "x"]])
def test_the_client_is_who_the_proxy_saw_whatever_it_says_of_itself(
    client: str, told: list[str]
) -> None:
    peer, forwarded = seen(LOOPBACK, *told, client)
    assert peer[0] == client
    assert ", ".join(forwarded) == ", ".join(told)
    assert client_address(peer, forwarded, ()) == address_of(client)


def test_a_trusted_proxy_before_ours_is_believed() -> None:
    peer, forwarded = seen(LOOPBACK, "203.0.113.9", "10.0.0.3")
    assert client_address(peer, forwarded, LOAD_BALANCER) == address_of("203.0.113.9")


def test_who_comes_past_the_proxy_is_itself() -> None:
    outside = ("203.0.113.9", 5555)
    assert seen(outside, "127.0.0.1") == (outside, ["127.0.0.1"])
    assert seen(LOOPBACK) == (LOOPBACK, [])
