"""An ASGI layer that takes down what a request used before its answer leaves."""

import json
import logging
import time
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aiplat.serving.metering.spool import SpoolError
from aiplat.serving.metering.usage import UsageRecord
from aiplat.serving.problems import ProblemError, problem_response

logger = logging.getLogger(__name__)
access = logging.getLogger("aiplat.access")

# What proxies write in their logs for a client that left before its answer; it has no number.
CLIENT_LEFT = 499


class Meter:
    """Completes the usage record that a handler began, and has it kept before the answer is sent.

    An answer whose record cannot be kept is not given: it would be one that nobody pays for.
    record: keeps it; raises SpoolError where it cannot.
    """

    def __init__(self, app: ASGIApp, record: Callable[[UsageRecord], None]) -> None:
        self._app, self._record = app, record

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        meter = _Measured(scope, receive, send, self._record)
        try:
            await self._app(scope, meter.receive, meter.send)
        finally:
            meter.end()


class _Measured:
    """One request."""

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, record: Callable[[UsageRecord], None]
    ) -> None:
        self._scope, self._receive, self._send, self._record = scope, receive, send, record
        self._began_at = time.perf_counter()
        self._bytes_in = self._bytes_out = 0
        self._start: Message | None = None
        self._status = CLIENT_LEFT
        self._is_kept = False

    async def receive(self) -> Message:
        """A part of the request."""
        message = await self._receive()
        self._bytes_in += len(message.get("body", b""))
        return message

    async def send(self, message: Message) -> None:
        """A part of the answer; it begins to leave with its body, when it is known to be kept."""
        if message["type"] == "http.response.start":
            self._start = message
            return
        start, self._start = self._start, None
        self._bytes_out += len(message.get("body", b""))
        if start is not None:
            self._status = start["status"]
        if not message.get("more_body", False):
            try:
                self._keep(self._status)
            except SpoolError as error:
                if start is None:
                    raise
                await self._refuse(error)
                return
        if start is not None:
            await self._send(start)
        await self._send(message)

    def end(self) -> None:
        """The request is over; take it down where no answer did."""
        if not self._is_kept:
            try:
                self._keep(CLIENT_LEFT)
            except SpoolError as error:
                logger.error("a request that was not answered is not accounted for: %s", error)

    def _keep(self, status: int) -> None:
        """Take the request down, where a model was asked."""
        self._is_kept = True
        record: UsageRecord | None = self._scope["state"].get("usage")
        if record is None:
            return
        record.status, record.at = status, time.time()
        record.bytes_in, record.bytes_out = self._bytes_in, self._bytes_out
        record.total_s = time.perf_counter() - self._began_at
        self._record(record)
        if access.isEnabledFor(logging.INFO):
            access.info("%s", _told(record, self._scope["state"].get("request_id", "")))

    async def _refuse(self, error: SpoolError) -> None:
        logger.error("an answer was held back: %s", error)
        problem = ProblemError(
            503, "the request cannot be accounted for just now", headers={"Retry-After": "5"}
        )
        request_id = self._scope["state"].get("request_id", "")
        response = problem_response(problem, request_id, self._scope["path"])
        await response(self._scope, self._receive, self._send)


def _told(record: UsageRecord, request_id: str) -> str:
    """The line of the access log, as JSON."""
    return json.dumps(
        {
            "request_id": request_id,
            "prediction_id": record.prediction_id,
            "key": record.key,
            "model": f"{record.endpoint}:{record.version}",
            "status": record.status,
            "rows": record.rows,
            "bytes_in": record.bytes_in,
            "bytes_out": record.bytes_out,
            "total_ms": round(record.total_s * 1000, 2),
            "queue_ms": round(record.queue_s * 1000, 2),
            "compute_ms": round(record.compute_s * 1000, 2),
        }
    )
