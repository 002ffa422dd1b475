"""The clients: with and without async they send the same requests and try again alike."""

import asyncio
import base64
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from aiplat.client import answers
from aiplat.client.answers import ModelDescription, ModelSummary, Predictions
from aiplat.client.errors import ClientError
from aiplat.client.retries import Exchange, Retries, Send

KEY_VARIABLE = "AIPLAT_API_KEY"

# A field's name -> its value; an image is the bytes of its file, or the file's path.
Row = Mapping[str, Any]


class Client:
    """Asks the models of one endpoint; safe in several threads at once.

    url: of the endpoint, as `serve` prints it. api_key: without one AIPLAT_API_KEY is read.
    timeout_s: for connecting, and for each wait for bytes. transport: what to send by, for tests.
    """

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        timeout_s: float = 60.0,
        retries: Retries | None = None,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._timeout_s, self._retries, self._sleep = timeout_s, retries or Retries(), sleep
        self._http = httpx.Client(
            base_url=_checked(url), headers=_headers(api_key), transport=transport
        )

    def predict(self, model: str, rows: Sequence[Row], request_id: str = "") -> Predictions:
        """The model's answers to the rows. Raises ClientError and OSError of an image's file."""
        return answers.predictions(self._ask(_predict(self._http, model, rows, request_id)))

    def models(self) -> tuple[ModelSummary, ...]:
        """The models there are. Raises ClientError."""
        return answers.model_list(self._ask(self._http.build_request("GET", _MODELS)))

    def describe(self, model: str) -> ModelDescription:
        """What a model takes and answers. Raises ClientError."""
        path = f"{_MODELS}/{quote(model, safe='')}"
        return answers.model_description(self._ask(self._http.build_request("GET", path)))

    def close(self) -> None:
        """Let the connections go."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _ask(self, request: httpx.Request) -> httpx.Response:
        exchange: Exchange = self._retries.exchange(request, self._timeout_s)
        outcome: httpx.Response | httpx.TransportError | None = None
        while True:
            try:
                step = exchange.send(outcome)
            except StopIteration as end:
                return end.value
            outcome = None
            if isinstance(step, Send):
                try:
                    outcome = self._http.send(_timed(step))
                except httpx.TransportError as error:
                    outcome = error
            else:
                self._sleep(step.seconds)


class AsyncClient:
    """`Client` for async code: the same arguments, and its methods are awaited."""

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        timeout_s: float = 60.0,
        retries: Retries | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._timeout_s, self._retries, self._sleep = timeout_s, retries or Retries(), sleep
        self._http = httpx.AsyncClient(
            base_url=_checked(url), headers=_headers(api_key), transport=transport
        )

    async def predict(self, model: str, rows: Sequence[Row], request_id: str = "") -> Predictions:
        """The model's answers to the rows. Raises ClientError and OSError of an image's file."""
        request = await asyncio.to_thread(_predict, self._http, model, rows, request_id)
        return answers.predictions(await self._ask(request))

    async def models(self) -> tuple[ModelSummary, ...]:
        """The models there are. Raises ClientError."""
        return answers.model_list(await self._ask(self._http.build_request("GET", _MODELS)))

    async def describe(self, model: str) -> ModelDescription:
        """What a model takes and answers. Raises ClientError."""
        path = f"{_MODELS}/{quote(model, safe='')}"
        return answers.model_description(await self._ask(self._http.build_request("GET", path)))

    async def close(self) -> None:
        """Let the connections go."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _ask(self, request: httpx.Request) -> httpx.Response:
        exchange: Exchange = self._retries.exchange(request, self._timeout_s)
        outcome: httpx.Response | httpx.TransportError | None = None
        while True:
            try:
                step = exchange.send(outcome)
            except StopIteration as end:
                return end.value
            outcome = None
            if isinstance(step, Send):
                try:
                    outcome = await self._http.send(_timed(step))
                except httpx.TransportError as error:
                    outcome = error
            else:
                await self._sleep(step.seconds)


_MODELS = "v1/models"


def _checked(url: str) -> httpx.URL:
    """The endpoint's URL, ready for paths to be added."""
    try:
        checked = httpx.URL(url.rstrip("/") + "/")
    except httpx.InvalidURL as error:
        raise ClientError(f"the endpoint's URL is {url!r}: {error}") from error
    if checked.scheme not in ("http", "https") or not checked.host:
        raise ClientError(
            f"the endpoint's URL is {url!r}, expected http://host:port or https://..."
        )
    return checked


def _headers(api_key: str | None) -> dict[str, str]:
    key = os.environ.get(KEY_VARIABLE, "") if api_key is None else api_key
    return {"Authorization": f"Bearer {key}"} if key else {}


def _predict(
    http: httpx.Client | httpx.AsyncClient, model: str, rows: Sequence[Row], request_id: str
) -> httpx.Request:
    body = {"inputs": [{name: _value(value) for name, value in row.items()} for row in rows]}
    headers = {"X-Request-Id": request_id} if request_id else {}
    path = f"{_MODELS}/{quote(model, safe='')}:predict"
    try:
        return http.build_request("POST", path, json=body, headers=headers)
    except (TypeError, ValueError) as error:
        raise ClientError(f"the rows cannot be written as JSON: {error}") from error


def _value(value: Any) -> Any:
    """A value as JSON holds it."""
    if isinstance(value, Path):
        value = value.read_bytes()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode()
    return value


def _timed(step: Send) -> httpx.Request:
    step.request.extensions["timeout"] = httpx.Timeout(step.timeout_s).as_dict()
    return step.request
