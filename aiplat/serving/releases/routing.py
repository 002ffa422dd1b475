"""Which version answers a request: the seam between the HTTP app and releases."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol, Self

from starlette.requests import Request

from aiplat.serving.metering.usage import UsageRecord
from aiplat.serving.served import Answers, Row, ServedModel


@dataclass(frozen=True)
class Routed:
    """Who answers a request. answered: told of the answer once it has left, where someone cares."""

    model: ServedModel
    answered: Callable[[Sequence[Row], Answers], Awaitable[None]] | None = None


class Router(AbstractAsyncContextManager["Router"], Protocol):
    """Picks the version that answers; open while the app runs."""

    def route(self, request: Request, model: ServedModel, record: UsageRecord) -> Routed:
        """Who answers a request to a model. record: the request's."""
        ...


class OneVersion:
    """Each model is the one version of it that there is."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    def route(
        self,
        request: Request,  # noqa: ARG002
        model: ServedModel,
        record: UsageRecord,  # noqa: ARG002
    ) -> Routed:
        """The model itself."""
        return Routed(model)
