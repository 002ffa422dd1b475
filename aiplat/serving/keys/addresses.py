"""Whose address a request comes from, and whether a list of networks has it."""

import re
from collections.abc import Sequence
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from aiplat.errors import ConfigError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_MAPPED = IPv6Network("::ffff:0:0/96")
_THIS_MACHINE = IPv4Address("127.0.0.1")
_HOST_PORT = re.compile(r"\[(?P<six>[^\]]*)\](?::\d+)?|(?P<four>[^:]*):\d+")


def network(text: str) -> Network:
    """The network that a text writes; a plain address is a network of one. Raises ConfigError."""
    expected = "expected a network such as 10.0.0.0/8 or 2001:db8::/32, or an address"
    try:
        found = ip_network(text, strict=True)
    except ValueError:
        try:
            meant = ip_network(text, strict=False)
        except ValueError:
            raise ConfigError(f"{text!r} is no network; {expected}") from None
        raise ConfigError(f"{text!r} is an address inside a network; write {meant}") from None
    if isinstance(found, IPv6Network) and found.subnet_of(_MAPPED):
        mapped = IPv4Address(int(found.network_address) & 0xFFFFFFFF)
        return IPv4Network((mapped, found.prefixlen - _MAPPED.prefixlen))
    return found


def contains(networks: Sequence[Network], address: Address | None) -> bool:
    """Whether one of the networks has the address; an unknown address is in none."""
    # An address of the other version is in no network, without an error.
    return address is not None and any(address in item for item in networks)


def address_of(text: str) -> Address | None:
    """The address that a text writes, an IPv4 address in IPv6's clothes as IPv4; None: none."""
    try:
        # A zone (`fe80::1%eth0`) means something on the machine that wrote it only.
        found = ip_address(text.strip().partition("%")[0])
    except ValueError:
        return None
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        return found.ipv4_mapped
    return found


def client_address(
    client: tuple[str, int] | None, forwarded: Sequence[str], trusted: Sequence[Network]
) -> Address | None:
    """The address of whoever asked; None where it cannot be told.

    client: the peer's host and port, as the server says. forwarded: the `X-Forwarded-For` headers,
    in order. trusted: proxies whose headers are believed.
    """
    if client is None:
        return None
    hops = [hop.strip() for header in forwarded for hop in header.split(",")]
    said = address_of(client[0])
    if not _may_be_of_a_header(client, hops):
        return _behind(said, hops, trusted)
    if not contains(trusted, _THIS_MACHINE):
        return None
    found = _behind(_THIS_MACHINE, hops, trusted)
    # Who is connected from elsewhere and writes its own address into the header gains nothing.
    return found if found == said or contains(trusted, said) else None


def _behind(
    peer: Address | None, hops: Sequence[str], trusted: Sequence[Network]
) -> Address | None:
    """The right-most address that is no trusted proxy's."""
    address, left = peer, list(hops)
    while left and contains(trusted, address):
        # What an untrusted one says of those further left may be made up.
        address = address_of(_host(left.pop()))
    return address


def _may_be_of_a_header(client: tuple[str, int], hops: Sequence[str]) -> bool:
    """Whether the server may have put a header's word in the place of the peer.

    uvicorn, which Ray Serve's proxy runs on, believes `X-Forwarded-For` of every peer on its own
    machine, whether we trust it or not. The port is then the header's, or 0, which no peer has.
    """
    host, port = client
    return any(host in hop and port in (0, _port(hop)) for hop in hops)


def _port(hop: str) -> int:
    try:
        return int(hop.rpartition(":")[2])
    except ValueError:
        return 0


def _host(hop: str) -> str:
    """The hop without a port."""
    found = _HOST_PORT.fullmatch(hop)
    return hop if found is None else found["six"] or found["four"] or ""
