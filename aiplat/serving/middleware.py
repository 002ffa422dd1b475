"""ASGI layers around the app: who asks, request ids, a last resort for bugs, limits to bodies."""

import asyncio
import hmac
import logging
import re
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aiplat.serving.problems import ProblemError, problem_response

logger = logging.getLogger(__name__)

# The gateway's secret, and the address of whom it asks for.
CALLER_HEADER = "X-Aiplat-Caller"

_PEER_PORT = 65_536
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
        except ClientDisconnect:
            logger.info("request %s: the client left before it had sent all of it", request_id)
        except Exception:
            if started:
                raise
            logger.exception("request %s failed", request_id)
            detail = f"the server failed; its log has the cause under request id {request_id}"
            response = problem_response(ProblemError(500, detail), request_id, scope["path"])
            await response(scope, receive, send_with_id)


class BodyLimit:
    """Stops reading a request body that is compressed, too large or too slow in coming.

    max_bytes: whatever length was announced. max_s: from when it is first asked for to its end.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, max_s: float) -> None:
        self._app = app
        self._max_bytes, self._max_s = max_bytes, max_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        num_bytes = 0
        deadline: float | None = None
        is_whole = False

        # The errors are raised where the body is read, so that a handler turns them into an answer.
        async def receive_some() -> Message:
            nonlocal num_bytes, deadline, is_whole
            # What comes after the body is the client's leaving, and that may take its time.
            if is_whole:
                return await receive()
            self._check_headers(headers)
            deadline = deadline or asyncio.get_running_loop().time() + self._max_s
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError as error:
                raise self._too_slow() from error
            num_bytes += len(message.get("body", b""))
            if num_bytes > self._max_bytes:
                raise self._too_large()
            is_whole = not message.get("more_body", False)
            return message

        await self._app(scope, receive_some, send)

    def _check_headers(self, headers: Headers) -> None:
        announced = headers.get("content-length", "")
        if announced.isdecimal() and int(announced[:18]) > self._max_bytes:
            raise self._too_large()
        encoding = headers.get("content-encoding", "identity").strip().lower()
        # A few bytes may unpack to any number: the limits hold for what was sent.
        if encoding not in ("", "identity"):
            detail = (
                f"the body is compressed ({encoding[:40]}), which is not read here: send it plain"
            )
            raise ProblemError(415, detail, headers={"Accept-Encoding": "identity"})

    def _too_large(self) -> ProblemError:
        megabytes = self._max_bytes / 1e6
        detail = f"the body is larger than {megabytes:g} MB (serve.max_body_mb): send fewer rows"
        return ProblemError(413, detail)

    def _too_slow(self) -> ProblemError:
        seconds = f"{self._max_s:g} s (serve.request_timeout_s)"
        # What is still to come of it would be taken for the next request.
        return ProblemError(
            408, f"the body did not arrive within {seconds}", headers={"Connection": "close"}
        )


class BehindProxy:
    """Sees past the proxy of ours on this machine: who is connected to it is the client.

    The proxy adds the address it saw as the last `X-Forwarded-For`, whatever else was there, and
    uvicorn, which believes peers on its own machine, has taken a client without a port from it.
    Whoever is connected to us without the proxy has a port, and is left alone.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        client = scope.get("client")
        if scope["type"] == "http" and client is not None and client[1] == 0:
            headers = MutableHeaders(scope=scope)
            given = headers.getlist("x-forwarded-for")
            *told, seen = (hop.strip() for header in given for hop in header.split(","))
            # A port that no header gives: what comes after us is to take it for a peer's.
            scope["client"] = (seen, _PEER_PORT)
            del headers["x-forwarded-for"]
            if told:
                headers["x-forwarded-for"] = ", ".join(told)
        await self._app(scope, receive, send)


class BehindGateway:
    """Sees past the gateway of gRPC: who calls it is the client.

    secret: what only the gateway knows. Whoever says another has an address that cannot be told: it
    may be a gateway that was just replaced.
    """

    def __init__(self, app: ASGIApp, secret: str) -> None:
        self._app, self._secret = app, secret.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] == "http":
            headers = MutableHeaders(scope=scope)
            given = headers.get(CALLER_HEADER)
            if given is not None:
                secret, _, address = given.partition(" ")
                is_gateway = hmac.compare_digest(secret.encode(), self._secret)
                scope["client"] = (address, _PEER_PORT) if is_gateway and address else None
                del headers[CALLER_HEADER]
        await self._app(scope, receive, send)


def _request_id(scope: Scope) -> str:
    given = Headers(scope=scope).get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
