"""Values that are not what a field takes: broken images and base64, odd texts, any JSON."""

import base64
import gzip
import io
import random
import struct
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any

from PIL import Image

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
SIDE = 20_000

TEXTS = (
    "",
    "\0",
    "\x7f\x1b[31m",
    "\ud800",
    "\udfff\ud800",
    "\u202etxt.exe",
    "a" + "\u0301" * 500,
    "\ufeff",
    "\uffff",
    "I\u0307\u0131",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467",
    "ﷺ" * 200,
    "../../etc/passwd",
    "${jndi:ldap://x}",
    "{{7*7}}",
    "'; DROP TABLE usage; --",
    "<script>alert(1)</script>",
    "%s%n%x",
    "__class__",
    "NaN",
    "http://169.254.169.254/",
    "file:///etc/passwd",
    "data:image/png;base64,",
)
NUMBERS = (
    0,
    -1,
    True,
    1e308,
    -1e308,
    1e39,
    5e-324,
    float("nan"),
    float("inf"),
    float("-inf"),
    2**31,
    2**63,
    2**64,
    10**300,
    -(10**400),
)


def text(chance: random.Random) -> str:
    """A text that is odd, or long, or both."""
    kind = chance.randrange(3)
    if kind == 0:
        return chance.choice(TEXTS)
    if kind == 1:
        points = [chance.randrange(0x110000) for _ in range(chance.choice([1, 9, 300]))]
        return "".join(map(chr, points))
    return chance.choice(TEXTS)[:20] * chance.choice([2, 100, 1500])


def json_value(chance: random.Random, depth: int = 3) -> Any:
    """Any JSON value, and some that are only nearly JSON."""
    makers: list[Callable[[], Any]] = [
        lambda: None,
        lambda: chance.choice([True, False]),
        lambda: chance.choice(NUMBERS),
        lambda: text(chance),
    ]
    if depth:
        makers += [
            lambda: [json_value(chance, depth - 1) for _ in range(chance.choice([0, 1, 5]))],
            lambda: {
                text(chance)[:200]: json_value(chance, depth - 1)
                for _ in range(chance.choice([0, 1, 5]))
            },
        ]
    return chance.choice(makers)()


@cache
def picture(file_format: str) -> bytes:
    """The file of a small image."""
    stream = io.BytesIO()
    Image.linear_gradient("L").resize((24, 24)).save(stream, file_format)
    return stream.getvalue()


@cache
def bomb() -> bytes:
    """A PNG of 20,000 x 20,000 black pixels, in 50 kB."""
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", SIDE, SIDE, 1, 0, 0, 0, 0))
    pixels = _chunk(b"IDAT", zlib.compress(bytes(SIDE * 2_501), 1))
    return b"\x89PNG\r\n\x1a\n" + header + pixels + _chunk(b"IEND", b"")


@cache
def profile_bomb() -> bytes:
    """A small PNG whose colour profile and text unpack to 30 MB each."""
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0))
    packed = zlib.compress(bytes(30_000_000), 9)
    profile = _chunk(b"iCCP", b"a\0\0" + packed) + _chunk(b"zTXt", b"a\0\0" + packed)
    pixels = _chunk(b"IDAT", zlib.compress(bytes(8 * 9)))
    return b"\x89PNG\r\n\x1a\n" + header + profile + pixels + _chunk(b"IEND", b"")


@cache
def unpacking() -> bytes:
    """A gzip of 30 MB of spaces."""
    return gzip.compress(b" " * 30_000_000, 9)


def image(chance: random.Random) -> bytes:
    """The bytes of an image file that is damaged, or claims to be huge, or of none."""
    kind = chance.randrange(5)
    if kind == 0:
        return chance.choice([bomb(), profile_bomb()])
    if kind == 1:
        return chance.choice([b"", b"\0", b"<svg/>", b"%!PS-Adobe", unpacking()[:2000]])
    whole = bytearray(picture(chance.choice(FORMATS)))
    if kind == 2:
        # Where headers hold sizes.
        at = chance.randrange(min(40, len(whole)))
        whole[at : at + 4] = chance.choice([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff"])
    return damaged(chance, bytes(whole))


def damaged(chance: random.Random, data: bytes) -> bytes:
    """The bytes with some changed, and sometimes cut, or with more at the end."""
    changed = bytearray(data or b"\0")
    for _ in range(chance.choice([1, 3, 30])):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    end = chance.choice([len(changed), len(changed), chance.randrange(len(changed) + 1)])
    return bytes(changed[:end]) + chance.choice([b"", b"", b"\0" * 50])


def base64_text(chance: random.Random, data: bytes) -> str:
    """The data as base64 that may be cut, have odd characters or be of another alphabet."""
    encoded = base64.b64encode(data).decode()
    return chance.choice(
        [
            encoded,
            encoded[:-1],
            encoded + "=",
            encoded.replace("A", "-"),
            f"data:image/png,{encoded}",
            f"data:;base64,{encoded}",
            "=" + encoded,
            "\n".join(encoded),
            encoded[:50] + chance.choice(TEXTS) + encoded[50:],
        ]
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
