"""Whole requests: every address of an endpoint, with bodies that lie about what they are."""

import json
import random
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.hostile import values

JSON = "application/json"


@dataclass(frozen=True)
class Target:
    """The model that is asked. kinds: of its inputs, by name. row: a good one, as JSON has it."""

    model: str
    kinds: Mapping[str, str]
    row: Mapping[str, Any]

    @property
    def predict(self) -> str:
        """The plain API's address."""
        return f"/v1/models/{self.model}:predict"

    @property
    def infer(self) -> str:
        """The Open Inference Protocol's address."""
        return f"/v2/models/{self.model}/infer"


@dataclass(frozen=True)
class Hostile:
    """A request, and which maker made it."""

    maker: str
    path: str
    content: bytes
    headers: dict[str, str] = field(default_factory=dict)
    method: str = "POST"


def hostile(chance: random.Random, target: Target) -> Hostile:
    """Any of them."""
    return chance.choice(_MAKERS)(chance, target)


def _rows(chance: random.Random, target: Target) -> Hostile:
    """Good rows but for some values and names."""
    rows = [dict(target.row) for _ in range(chance.choice([1, 1, 3]))]
    for row in rows:
        name = chance.choice(list(target.kinds))
        if target.kinds[name] == "image" and chance.random() < 0.8:
            row[name] = values.base64_text(chance, values.image(chance))
        else:
            row[name] = values.json_value(chance)
        if chance.random() < 0.3:
            row[values.text(chance)[:300]] = values.json_value(chance)
    return _json("rows", target.predict, {"inputs": rows})


def _shapes(chance: random.Random, target: Target) -> Hostile:
    """JSON of another shape altogether."""
    any_value = values.json_value(chance)
    body = chance.choice(
        [
            any_value,
            {"inputs": any_value},
            {"inputs": [any_value] * chance.choice([1, 9])},
            {"inputs": [chance.choice([None, 7, {}, []])] * 50_000},
        ]
    )
    return _json("shapes", chance.choice([target.predict, target.infer]), body)


def _huge(chance: random.Random, target: Target) -> Hostile:
    """JSON that is deep, wide or long."""
    size = chance.choice([2_000, 20_000, 100_000])
    body = chance.choice(
        [
            '{"inputs":' + "[" * size,
            '{"inputs":' + "[" * size + "]" * size + "}",
            '{"a":' * (size // 5) + "1" + "}" * (size // 5),
            '{"inputs": ' + "1" * size + "}",
            '{"inputs": 1e' + "9" * size + "}",
            '{"inputs": [' + ",".join(["{}"] * (size // 3)) + "]}",
            json.dumps({"inputs": [{**target.row, **{f"k{i}": 1 for i in range(size // 10)}}]}),
            json.dumps({"inputs": [{**target.row, "k" * size: 1}]}),
            json.dumps({"k" * size: 1}),
            json.dumps({"inputs": [{"name": "n" * size}] * 3}),
            json.dumps({"inputs": [], "outputs": [{"name": "label"}] * (size // 20)}),
        ]
    )
    return _raw("huge", chance.choice([target.predict, target.infer]), body.encode())


def _bytes(chance: random.Random, target: Target) -> Hostile:
    """A good body with bytes changed, or in another encoding than it says."""
    path, body = chance.choice(
        [(target.predict, {"inputs": [target.row]}), (target.infer, _tensors(target, 1))]
    )
    text = json.dumps(body, ensure_ascii=False)
    content = chance.choice(
        [
            values.damaged(chance, text.encode()),
            text.encode("utf-16"),
            text.encode("utf-32-be"),
            b"\xef\xbb\xbf" + text.encode(),
            text.encode().replace(b'"', b"\xc0\xa2"),
            text.replace('"inputs"', '"\uff49nputs"').encode(),
            text.encode() + b"\0",
            text[:-1].encode() + b',"inputs":[]}',
        ]
    )
    return _raw("bytes", path, content)


def _encodings(chance: random.Random, target: Target) -> Hostile:
    """Bodies that unpack to far more than they are, or say so."""
    packed = chance.choice([values.unpacking(), zlib.compress(bytes(10_000_000)), b"{}"])
    name = chance.choice(["gzip", "deflate", "br", "zstd", "gzip, gzip", "GZIP", "x" * 500])
    headers = {"Content-Encoding": name}
    return _raw("encodings", chance.choice([target.predict, target.infer]), packed, headers)


def _forms(chance: random.Random, target: Target) -> Hostile:
    """Multipart bodies, damaged ones and such of very many parts."""
    parts = []
    for _ in range(chance.choice([1, 4, 300])):
        name = chance.choice([*target.kinds, values.text(chance)[:50]])
        value = chance.choice(
            [values.image(chance)[:5000], values.text(chance)[:500].encode(errors="replace")]
        )
        filename = chance.choice(
            ["", '; filename="a"', '; filename="\0../a"', "; filename*=utf-8''%ff"]
        )
        head = f'--b\r\nContent-Disposition: form-data; name="{name}"{filename}\r\n\r\n'
        parts.append(head.encode(errors="replace") + value + b"\r\n")
    body = b"".join(parts) + b"--b--\r\n"
    if chance.random() < 0.5:
        body = values.damaged(chance, body)
    charset = chance.choice(["", "; charset=utf-7", "; charset=rot13", "; charset=no-such"])
    boundary = chance.choice(["b", "b", "b", "", "c" * 300, '"'])
    kind = f"multipart/form-data; boundary={boundary}{charset}"
    return _raw("forms", target.predict, body, {"Content-Type": kind})


def _lies(chance: random.Random, target: Target) -> Hostile:
    """Tensors whose sizes, shapes, datatypes or lengths are not what they say."""
    body = _tensors(target, chance.choice([1, 1, 3]))
    tail = b""
    for tensor in body["inputs"]:
        if chance.random() < 0.6:
            data = _packed(chance)
            size = chance.choice(
                [len(data), len(data), 0, -1, 2**63, len(data) + 1, "5", None, 1.5]
            )
            tensor["parameters"] = {"binary_data_size": size}
            del tensor["data"]
            tail += data
    for tensor in chance.sample(body["inputs"], 1):
        key = chance.choice(["name", "datatype", "shape", "data", "parameters"])
        shapes = [[0], [-1], [2**62], [1, 2**62], [1, 1, 1], [True], [1.0], [], [10**300]]
        odd = {"shape": chance.choice(shapes), "datatype": chance.choice(["FP32", "BF16", "bytes"])}
        tensor[key] = odd.get(key) if chance.random() < 0.6 else values.json_value(chance)
    if chance.random() < 0.3:
        body["outputs"] = values.json_value(chance)
    if chance.random() < 0.3:
        body["id"] = values.text(chance)
    head = json.dumps(body).encode()
    length = chance.choice([len(head)] * 6 + [0, 1, len(head) + 1, 10**30, "x", "-1", "+5"])
    return _raw("lies", target.infer, head + tail, {"Inference-Header-Content-Length": str(length)})


def _addresses(chance: random.Random, target: Target) -> Hostile:
    """Paths, methods and headers that lead nowhere."""
    odd = chance.choice(["%00", "%ff", "..", "%2e%2e%2f", "%F0%9F%92%A9", "a" * 5000, "*", "%"])
    path = chance.choice(
        [
            f"/{odd}",
            f"/v1/models/{odd}",
            f"/v1/models/{odd}:predict",
            f"/v2/models/{odd}/infer",
            f"/v2/models/{target.model}/versions/{odd}/ready",
            f"{target.predict}?{odd}={odd}",
            f"//{target.predict}//",
            target.infer + "/",
            "/docs",
            "/openapi.json",
            "/v2",
        ]
    )
    headers = chance.choice(
        [
            {"X-Request-Id": "<" * 300},
            {"Content-Type": values.text(chance).encode("ascii", "ignore").decode().strip()[:90]},
            {"Authorization": f"Bearer {'a' * 9000}"},
            {"Accept": "text/html;q=nan", "Range": "bytes=0-0,-1", "If-None-Match": "*"},
            {"Host": "evil", "X-Forwarded-For": "::1", "Forwarded": "for=x"},
            {f"X-{number}": "1" for number in range(60)},
        ]
    )
    headers = {name: value for name, value in headers.items() if value.isprintable()}
    method = chance.choice(["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE"])
    return Hostile("addresses", path, b"{}", headers, method)


def _tensors(target: Target, num_rows: int) -> dict[str, Any]:
    """A good infer request."""
    return {
        "inputs": [
            {
                "name": name,
                "datatype": "FP64" if kind == "number" else "BYTES",
                "shape": [num_rows],
                "data": [target.row[name]] * num_rows,
            }
            for name, kind in target.kinds.items()
        ]
    }


def _packed(chance: random.Random) -> bytes:
    data = chance.choice([values.image(chance), b"a", b"\xff\xfe", b""])
    size = chance.choice([len(data), len(data), 0, 2**32 - 1, len(data) + 1])
    return chance.choice([struct.pack("<I", size) + data, data, struct.pack("<d", float("nan"))])


def _json(maker: str, path: str, body: Any) -> Hostile:
    return _raw(maker, path, json.dumps(body).encode())


def _raw(
    maker: str, path: str, content: bytes, headers: Mapping[str, str] | None = None
) -> Hostile:
    return Hostile(maker, path, content, {"Content-Type": JSON, **(headers or {})})


_MAKERS: tuple[Callable[[random.Random, Target], Hostile], ...] = (
    _rows,
    _shapes,
    _huge,
    _bytes,
    _encodings,
    _forms,
    _lies,
    _addresses,
)
