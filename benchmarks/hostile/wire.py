"""Bytes that are not the HTTP they seem to be, for a server and not for an app."""

import random

from benchmarks.hostile import values
from benchmarks.hostile.requests import Target


def wire(chance: random.Random, target: Target) -> bytes:
    """What is written to a new connection, before its sending side is closed."""
    body = b'{"inputs": []}'
    start = (
        f"POST {target.predict} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n".encode()
    )
    long = [b"0", b"5", b"15", b"14 ", b"+14", b"-1", b"1e1", b"0x0e", b"9" * 30, b"14, 14", b""]
    length = b"Content-Length: " + chance.choice(long) + b"\r\n"
    chunked = b"Transfer-Encoding: chunked\r\n"
    sizes = [b"e", b"E;a=b", b"-1", b"ffffffffffffffffff", b"zz", b"", b"3"]
    chunk = chance.choice(sizes) + b"\r\n" + body + b"\r\n0\r\n\r\n"
    return chance.choice(
        [
            start + length + b"\r\n" + body,
            start + length + length + b"\r\n" + body,
            start + b"Content-Length: 14\r\n" + chunked + b"\r\n" + chunk,
            start + chunked + b"\r\n" + chunk,
            start + b"X-" + b"a" * 200_000 + b": 1\r\n\r\n",
            start + b"X: 1\r\n" * 5_000 + b"\r\n",
            start + b"Expect: 100-continue\r\nContent-Length: 14\r\n\r\n" + body,
            start + b"Content-Length: 14\r\n\r\n" + body + b"GET /healthz HTTP/1.1\r\n\r\n",
            start + b"Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
            b"GET " + b"/a" * 50_000 + b" HTTP/1.1\r\n\r\n",
            b"GET /\xff\xfe\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            values.damaged(chance, start + b"Content-Length: 14\r\n\r\n" + body),
        ]
    )
