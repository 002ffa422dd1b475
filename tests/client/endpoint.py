"""An endpoint that answers from a script, a clock moved by waits alone, and both clients."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from aiplat.client import AsyncClient, Client, Retries

ANSWER = {
    "model": "reds",
    "version": "7",
    "prediction_id": "p-1",
    "predictions": [{"label": "red"}],
}


def answered() -> httpx.Response:
    return httpx.Response(200, json=ANSWER, headers={"X-Request-Id": "r-1"})


def refused(status: int, **headers: str) -> httpx.Response:
    problem = {
        "type": f"urn:aiplat:problem:{status}",
        "title": "No",
        "status": status,
        "detail": "not now",
        "request_id": "r-2",
    }
    return httpx.Response(status, json=problem, headers=headers)


@dataclass
class Endpoint:
    """Answers request after request as the script says; the last of it is said for ever."""

    script: list[httpx.Response | Exception]
    asked: list[httpx.Request] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        outcome = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(outcome, Exception):
            raise outcome
        # A fresh one: a response can be read by one client only.
        return httpx.Response(outcome.status_code, headers=outcome.headers, content=outcome.content)


@dataclass
class Clock:
    """Seconds that pass by waiting alone. now_s: since 1970, where it begins."""

    now_s: float = 1_000_000.0
    waits: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)

    async def sleep_async(self, seconds: float) -> None:
        self.sleep(seconds)

    def retries(self, **changes: Any) -> Retries:
        """Retries by this clock, each as late as it may be."""
        settings: dict[str, Any] = {
            "clock": lambda: sum(self.waits),
            "now": lambda: self.now_s + sum(self.waits),
            "draw": lambda _low, high: high,
            **changes,
        }
        return Retries(**settings)


class Sync:
    """The client without async."""

    def __init__(self, endpoint: Endpoint, clock: Clock, **changes: Any) -> None:
        self._client = Client(
            "http://host:1/",
            retries=clock.retries(**changes),
            transport=httpx.MockTransport(endpoint),
            sleep=clock.sleep,
        )

    def __call__(self, method: str, *arguments: Any, **more: Any) -> Any:
        with self._client as client:
            return getattr(client, method)(*arguments, **more)


class Async:
    """The client with async, called without."""

    def __init__(self, endpoint: Endpoint, clock: Clock, **changes: Any) -> None:
        self._client = AsyncClient(
            "http://host:1/",
            retries=clock.retries(**changes),
            transport=httpx.MockTransport(endpoint),
            sleep=clock.sleep_async,
        )

    def __call__(self, method: str, *arguments: Any, **more: Any) -> Any:
        async def scene() -> Any:
            async with self._client as client:
                return await getattr(client, method)(*arguments, **more)

        return asyncio.run(scene())


Kind = Callable[..., Callable[..., Any]]
