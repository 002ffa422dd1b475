"""ASGI layers around the app: request ids, a last resort for bugs, and a limit on bodies."""

import logging
import re
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aiplat.serving.problems import ProblemError, problem_response

logger = logging.getLogger(__name__)

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")


class Envelope:
    """Gives every request an id, the client's own where it sent one, and every bug an answer.

    echo_request_id: whether to send the id back; false where a proxy in front of us does.
    """

    def __init__(self, app: ASGIApp, echo_request_id: bool = True) -> None:
        self._app = app
        self._echo_request_id = echo_request_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        started = False

        async def send_with_id(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                if self._echo_request_id:
                    MutableHeaders(scope=message)["X-Request-Id"] = request_id
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception:
            if started:
                raise
            logger.exception("request %s failed", request_id)
            detail = f"the server failed; its log has the cause under request id {request_id}"
            response = problem_response(ProblemError(500, detail), request_id)
            await response(scope, receive, send_with_id)


class BodyLimit:
    """Stops reading a request body that grows beyond the limit, whatever length it announced."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "")
        num_bytes = 0

        # The errors are raised where the body is read, so that a handler turns them into an answer.
        async def receive_some() -> Message:
            nonlocal num_bytes
            if announced.isdecimal() and int(announced[:18]) > self._max_bytes:
                raise self._too_large()
            message = await receive()
            num_bytes += len(message.get("body", b""))
            if num_bytes > self._max_bytes:
                raise self._too_large()
            return message

        await self._app(scope, receive_some, send)

    def _too_large(self) -> ProblemError:
        megabytes = self._max_bytes / 1e6
        detail = f"the body is larger than {megabytes:g} MB (serve.max_body_mb): send fewer rows"
        return ProblemError(413, detail)


def _request_id(scope: Scope) -> str:
    given = Headers(scope=scope).get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
