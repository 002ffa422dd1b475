"""What stock clients ask a model, and what the plain API answers to it."""

import base64
from collections.abc import Callable
from typing import Any

import httpx
import pytest

_REDS = (0, 100, 255)


@pytest.fixture(scope="module")
def rows(png: Callable[..., bytes]) -> list[dict[str, Any]]:
    return [
        {"image": png(red), "text": f"är {red}?", "age": red / 4, "home": "owner"} for red in _REDS
    ]


@pytest.fixture(scope="module")
def plain(url: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The plain API's answers to the rows. url: of the endpoint that the module asks."""
    written = [row | {"image": base64.b64encode(row["image"]).decode()} for row in rows]
    response = httpx.post(f"{url}/v1/models/reds:predict", json={"inputs": written})
    predictions: list[dict[str, Any]] = response.json()["predictions"]
    return predictions
