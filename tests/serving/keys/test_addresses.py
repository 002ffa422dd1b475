import asyncio
from ipaddress import ip_address
from typing import Any, cast

import pytest
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from aiplat.errors import ConfigError
from aiplat.serving.keys.addresses import address_of, client_address, contains, network

OUTSIDE, PROXY = ("203.0.113.9", 5555), ("10.0.0.2", 40000)
TRUSTED = (network("10.0.0.0/24"), network("2001:db8:1::/48"))
WITH_LOOPBACK = (*TRUSTED, network("127.0.0.0/8"))


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("10.1.2.3", "10.1.2.3/32"),
        ("2001:DB8::/32", "2001:db8::/32"),
        ("::1", "::1/128"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:10.1.2.3", "10.1.2.3/32"),
        ("0.0.0.0/0", "0.0.0.0/0"),
    ],
)
def test_a_network_is_read_in_either_version(text: str, written: str) -> None:
    assert str(network(text)) == written


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("10.0.0.1/8", "'10.0.0.1/8' is an address inside a network; write 10.0.0.0/8"),
        ("10.0.0/8", "'10.0.0/8' is no network; expected a network such as 10.0.0.0/8"),
        ("acme.org", "'acme.org' is no network"),
        ("10.0.0.0/33", "is no network"),
    ],
)
def test_a_network_that_is_none_is_told(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        network(text)


@pytest.mark.parametrize(
    ("networks", "address", "is_in"),
    [
        (["10.0.0.0/8"], "10.255.0.1", True),
        (["10.0.0.0/8"], "11.0.0.1", False),
        (["10.0.0.0/8"], "::ffff:10.1.1.1", True),
        (["::ffff:10.0.0.0/104"], "10.1.1.1", True),
        (["2001:db8::/32"], "2001:db8:ff::1", True),
        (["2001:db8::/32"], "10.1.1.1", False),
        (["::/0"], "10.1.1.1", False),
        (["0.0.0.0/0"], "2001:db8::1", False),
        (["fe80::/10"], "fe80::1%eth0", True),
        (["127.0.0.1", "::1"], "::1", True),
        ([], "10.1.1.1", False),
        (["0.0.0.0/0", "::/0"], "testclient", False),
    ],
)
def test_an_address_is_in_a_network_of_its_version(
    networks: list[str], address: str, is_in: bool
) -> None:
    assert contains([network(text) for text in networks], address_of(address)) is is_in


@pytest.mark.parametrize(
    ("client", "forwarded", "expected"),
    [
        # Who is not trusted may write what it wants.
        (OUTSIDE, [], "203.0.113.9"),
        (OUTSIDE, ["10.1.1.1"], "203.0.113.9"),
        (OUTSIDE, ["10.1.1.1, 10.0.0.2"], "203.0.113.9"),
        # The right-most address that is no proxy of ours.
        (PROXY, ["198.51.100.7"], "198.51.100.7"),
        (PROXY, ["1.1.1.1, 198.51.100.7"], "198.51.100.7"),
        (PROXY, ["1.1.1.1", "198.51.100.7, 10.0.0.3"], "198.51.100.7"),
        (PROXY, ["198.51.100.7:4711"], "198.51.100.7"),
        (PROXY, ["[2001:db8::7]:4711"], "2001:db8::7"),
        (PROXY, ["2001:db8::7, 2001:db8:1::1"], "2001:db8::7"),
        (("2001:db8:1::5", 1), ["::ffff:198.51.100.7"], "198.51.100.7"),
        (("::ffff:10.0.0.2", 1), ["198.51.100.7"], "198.51.100.7"),
        # All are proxies: the first of them asked by itself.
        (PROXY, ["10.0.0.9, 10.0.0.3"], "10.0.0.9"),
        (PROXY, [], "10.0.0.2"),
        # An address that is none is not skipped: what stands left of it cannot be believed.
        (PROXY, ["1.1.1.1, unknown"], None),
        (PROXY, [""], None),
        (("testclient", 50000), [], None),
        (None, ["1.1.1.1"], None),
        # A peer whose address only looks like part of a hop.
        (PROXY, ["10.0.0.25"], "10.0.0.25"),
    ],
)
def test_the_client_is_the_right_most_one_that_is_not_trusted(
    client: tuple[str, int] | None, forwarded: list[str], expected: str | None
) -> None:
    found = client_address(client, forwarded, TRUSTED)
    assert found == (ip_address(expected) if expected else None)


async def behind_uvicorn(peer: tuple[str, int], forwarded: str) -> tuple[str, int]:
    """The client that the endpoint sees where Ray Serve's proxy has this peer."""
    seen: dict[str, tuple[str, int]] = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen["client"] = scope["client"]

    headers = [(b"x-forwarded-for", forwarded.encode())]
    scope = {"type": "http", "client": peer, "headers": headers}
    # As uvicorn does it where nobody tells it whom to trust.
    middleware = ProxyHeadersMiddleware(app, "127.0.0.1,::1")
    await middleware(cast("Any", scope), cast("Any", None), cast("Any", None))
    return seen["client"]


@pytest.mark.parametrize(
    "forwarded",
    [
        "10.1.1.1",
        "10.1.1.1:443",
        "10.1.1.1: 4_43",
        "[10.1.1.1]:abc",
        "[10.1.1.1]",
        "10.1.1.1, 127.0.0.1",
        "10.1.1.1, 0:0:0:0:0:0:0:1",
        "10.1.1.1, ::ffff:127.0.0.1",
        "::ffff:10.1.1.1",
        "[::ffff:10.1.1.1]:99, ::1",
    ],
)
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_uvicorns_trust_in_its_own_machine_opens_no_allow_list(host: str, forwarded: str) -> None:
    client = asyncio.run(behind_uvicorn((host, 40000), forwarded))
    found = client_address(client, [forwarded], ())
    assert found is None or found.is_loopback
    assert not contains([network("10.0.0.0/8")], found)


@pytest.mark.parametrize(
    ("forwarded", "expected"),
    [
        ("198.51.100.7", "198.51.100.7"),
        ("1.1.1.1, 198.51.100.7:99", "198.51.100.7"),
        # A second proxy behind the one of this machine.
        ("198.51.100.7, 10.0.0.3", "198.51.100.7"),
        ("1.1.1.1, unknown", None),
    ],
)
def test_a_trusted_proxy_on_the_same_machine_is_believed(
    forwarded: str, expected: str | None
) -> None:
    client = asyncio.run(behind_uvicorn(("127.0.0.1", 40000), forwarded))
    found = client_address(client, [forwarded], WITH_LOOPBACK)
    assert found == (ip_address(expected) if expected else None)


@pytest.mark.parametrize(
    "forwarded",
    [
        "10.1.1.1, 203.0.113.9:5555",
        "203.0.113.9:5555, 10.1.1.1",
        "203.0.113.9:5555",
        "10.1.1.1",
        "127.0.0.1, 203.0.113.9:5555",
    ],
)
def test_who_writes_its_own_address_into_the_header_is_not_taken_for_this_machine(
    forwarded: str,
) -> None:
    found = client_address(OUTSIDE, [forwarded], WITH_LOOPBACK)
    assert found in (None, ip_address(OUTSIDE[0]))
