"""Who may ask the endpoint: the seam between the HTTP app and what it knows of its callers."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol, Self

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader, HTTPBearer

KEY_HEADER = "X-API-Key"

_BEARER = HTTPBearer(
    scheme_name="bearer", description="An API key, as `Authorization: Bearer aip_...`.",
    auto_error=False,
)  # fmt: skip
_HEADER = APIKeyHeader(
    name=KEY_HEADER, scheme_name="header", description="The same key, for clients that cannot.",
    auto_error=False,
)  # fmt: skip


@dataclass(frozen=True)
class Caller:
    """Who asks. key_id stays when the key is rotated. principal: whose key it is."""

    key_id: str
    principal: str


ANONYMOUS = Caller("", "anonymous")


class Gate(AbstractAsyncContextManager["Gate"], Protocol):
    """Lets requests in, or refuses them; open while the app runs."""

    needs_key: bool

    async def admit(self, request: Request, model: str | None) -> Caller:
        """Whose request it is, before its body is read. model: what it asks; None: no model.

        The caller is kept in `request.state.caller` as soon as it is known, so that refused
        requests have one as well. Raises ProblemError.
        """
        ...


class OpenGate:
    """Lets everybody in."""

    needs_key = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def admit(self, request: Request, model: str | None) -> Caller:  # noqa: ARG002
        """Let the request in."""
        request.state.caller = ANONYMOUS
        return ANONYMOUS


def admission(gate: Gate, model: str | None = None) -> Sequence[Any]:
    """The dependencies of a route that only those who are let in may ask.

    model: the one it asks; None: the `{name}` of the route's path, if it has one.
    """

    async def admit(request: Request) -> None:
        name = model or request.path_params.get("name", "").partition(":")[0]
        await gate.admit(request, name or None)

    # OpenAPI tells of these; any one of them will do.
    schemes = [Security(_BEARER), Security(_HEADER)] if gate.needs_key else []
    return [Depends(admit), *schemes]
