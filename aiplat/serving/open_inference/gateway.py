"""A gRPC server before an endpoint: what it is asked, it asks the endpoint over HTTP.

So keys, limits, usage and releases are the endpoint's, and a gRPC client is one more HTTP client.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import grpc
import httpx
from google.protobuf.message import DecodeError, Message

from aiplat.errors import AiplatError, ConfigError
from aiplat.serving.gate import KEY_HEADER
from aiplat.serving.middleware import CALLER_HEADER
from aiplat.serving.open_inference.messages import SERVICE
from aiplat.serving.open_inference.translation import RPCS, Answered, Asked, MessageError, Rpc

# More than replicas take in hand, and few enough that their messages fit into memory.
_MAX_CALLS = 512
_MARGIN_S = 5.0
# Servers close connections that were idle for 5 s; one that is just being closed is not asked.
_IDLE_S = 2.0
# What of a call's metadata the endpoint reads, and what of its answer is told in the trailer.
_PASSED_ON = ("authorization", KEY_HEADER.lower(), "x-request-id", "x-forwarded-for")
_TOLD = ("retry-after", "x-request-id")
# Of an error's text; a trailer has room for 8 KB in all.
_MAX_DETAILS = 1024

_Metadata = Sequence[tuple[str, str]]
_Code = grpc.StatusCode

_CODES = {
    401: _Code.UNAUTHENTICATED,
    403: _Code.PERMISSION_DENIED,
    404: _Code.NOT_FOUND,
    408: _Code.DEADLINE_EXCEEDED,
    413: _Code.RESOURCE_EXHAUSTED,
    429: _Code.RESOURCE_EXHAUSTED,
    499: _Code.CANCELLED,
    502: _Code.UNAVAILABLE,
    503: _Code.UNAVAILABLE,
    504: _Code.DEADLINE_EXCEEDED,
}


@dataclass(frozen=True)
class GatewaySettings:
    """What a gateway is started with.

    host, port: where it listens. url: of the endpoint. secret: what the endpoint knows it by.
    max_bytes: of a message. timeout_s: how long a message may take to arrive, and then its answer.
    """

    host: str
    port: int
    url: str
    secret: str
    max_bytes: int
    timeout_s: float


class CallError(AiplatError):
    """A call that is not answered. told: to be sent with the code, in the trailer."""

    def __init__(
        self, code: grpc.StatusCode, detail: str, told: tuple[tuple[str, str], ...] = ()
    ) -> None:
        self.code, self.told = code, told
        super().__init__(detail)


class Gateway:
    """The service of the Open Inference Protocol; it answers between `start` and `stop`."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings

    async def start(self) -> int:
        """Listen. Returns the port. Raises ConfigError where the port is taken."""
        given = self._settings
        self._server = grpc.aio.server(
            maximum_concurrent_rpcs=_MAX_CALLS,
            options=[
                ("grpc.max_receive_message_length", given.max_bytes),
                ("grpc.max_send_message_length", -1),
                # None is read: a few bytes unpack to any number, and the key comes after.
                ("grpc.compression_enabled_algorithms_bitset", 1),
                # Or whoever runs a server of its own there would get some of the calls.
                ("grpc.so_reuseport", 0),
            ],
        )
        methods = {name: self._handler(rpc) for name, rpc in RPCS.items()}
        handler = grpc.method_handlers_generic_handler(SERVICE, methods)
        self._server.add_generic_rpc_handlers((handler,))
        host = f"[{given.host}]" if ":" in given.host else given.host
        try:
            port: int = self._server.add_insecure_port(f"{host}:{given.port}")
        except RuntimeError as error:
            raise ConfigError(
                f"no gRPC server can listen on {host}:{given.port}: set serve.grpc_port to a free "
                "port"
            ) from error
        self._client = httpx.AsyncClient(
            base_url=given.url,
            trust_env=False,
            timeout=given.timeout_s + _MARGIN_S,
            limits=httpx.Limits(max_connections=None, keepalive_expiry=_IDLE_S),
        )
        await self._server.start()
        return port

    async def stop(self, grace_s: float) -> None:
        """Take no more calls, finish those in hand within `grace_s`, and end."""
        await self._server.stop(grace_s)
        await self._client.aclose()

    def _handler(self, rpc: Rpc) -> grpc.RpcMethodHandler:
        async def answer(messages: AsyncIterator[bytes], context: Any) -> Message:
            try:
                answered = await self._answered(rpc, messages, context)
            except CallError as error:
                await context.abort(error.code, str(error)[:_MAX_DETAILS], error.told)
                raise
            context.set_trailing_metadata(_told(answered))
            return rpc.answer(answered)

        # On the wire one message is a stream of one; as a stream its arrival can be limited.
        return grpc.stream_unary_rpc_method_handler(
            answer, response_serializer=rpc.response.SerializeToString
        )

    async def _answered(self, rpc: Rpc, messages: AsyncIterator[bytes], context: Any) -> Answered:
        """What the endpoint answers to a call. Raises CallError."""
        within = f"within {self._settings.timeout_s:g} s (serve.request_timeout_s)"
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                message = await anext(messages)
            asked = rpc.asked(rpc.request.FromString(message))
            answered = await self._ask(asked, self._headers(context))
        except StopAsyncIteration:
            raise CallError(_Code.INVALID_ARGUMENT, "the call has no message") from None
        except (DecodeError, MessageError) as error:
            raise CallError(_Code.INVALID_ARGUMENT, str(error)) from error
        except TimeoutError as error:
            detail = f"the message did not arrive {within}"
            raise CallError(_Code.DEADLINE_EXCEEDED, detail) from error
        except httpx.TimeoutException as error:
            detail = f"the endpoint did not answer {within}"
            raise CallError(_Code.DEADLINE_EXCEEDED, detail) from error
        except httpx.TransportError as error:
            detail = "the endpoint cannot be reached just now"
            raise CallError(_Code.UNAVAILABLE, detail) from error
        if not answered.is_answer:
            raise _refusal(answered)
        return answered

    async def _ask(self, asked: Asked, headers: _Metadata) -> Answered:
        """What the endpoint answers. Raises httpx.TransportError."""
        method = "GET" if asked.body is None else "POST"
        request = self._client.build_request(
            method, asked.path, content=asked.body, headers=[*asked.headers.items(), *headers]
        )
        try:
            response = await self._client.send(request)
        except httpx.TimeoutException:
            raise
        except httpx.TransportError:
            # The replica died with the request; answering changes nothing, so another one may.
            response = await self._client.send(request)
        return Answered(response.status_code, response.headers, response.content)

    def _headers(self, context: Any) -> _Metadata:
        """What the endpoint is to know of the caller."""
        given = [
            (name, value.strip())
            for name, value in context.invocation_metadata() or ()
            if name in _PASSED_ON and isinstance(value, str)
        ]
        caller = f"{self._settings.secret} {_address(context.peer())}"
        return [*given, (CALLER_HEADER, caller)]


def _address(peer: str) -> str:
    """The address in a peer as gRPC writes it, such as `ipv6:%5B::1%5D:50051`; "": it has none."""
    kind, _, found = unquote(peer).partition(":")
    return found.rpartition(":")[0].strip("[]") if kind in ("ipv4", "ipv6") else ""


def _refusal(answered: Answered) -> CallError:
    is_callers = 400 <= answered.status < 500
    other = _Code.INVALID_ARGUMENT if is_callers else _Code.INTERNAL
    detail = answered.said.get("detail", f"the endpoint answered with {answered.status}")
    return CallError(_CODES.get(answered.status, other), str(detail), _told(answered))


def _told(answered: Answered) -> tuple[tuple[str, str], ...]:
    return tuple((name, answered.headers[name]) for name in _TOLD if name in answered.headers)
