"""What an endpoint makes of a Serve handle, without a cluster."""

import asyncio
from collections.abc import Awaitable, Callable, Generator
from typing import Any

import pytest

from aiplat.serving.served import Answers, ModelInfo, ServedModel

# Ray Serve declares and uses its own deprecated settings.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

INFO = ModelInfo("shapes", "1", (), ())


class Response:
    """What a handle gives for a request: to be awaited, or to be cancelled."""

    def __init__(self, answered: Awaitable[Answers]) -> None:
        self.answered, self.is_cancelled = answered, False

    def __await__(self) -> Generator[Any, None, Answers]:
        return self.answered.__await__()

    def cancel(self) -> None:
        self.is_cancelled = True


class Handle:
    """A handle to replicas that answer as `answer` does."""

    def __init__(self, answer: Callable[[], Awaitable[Answers]]) -> None:
        self.answer = answer
        self.responses: list[Response] = []

    @property
    def predict(self) -> "Handle":
        return self

    def remote(self, rows: list[dict[str, Any]]) -> Response:
        self.responses.append(Response(self.answer()))
        return self.responses[-1]


def remote_model(handle: Any) -> ServedModel:
    from aiplat.cluster.replicas import RemoteModel

    return RemoteModel(INFO, handle)


def test_a_replica_is_told_when_nobody_waits_for_its_answer() -> None:
    async def never() -> Answers:
        await asyncio.sleep(3600)
        raise NotImplementedError

    async def scene() -> Handle:
        handle = Handle(never)
        model = remote_model(handle)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(model.predict([{"text": "a"}]), 0.01)
        return handle

    handle = asyncio.run(scene())
    assert [response.is_cancelled for response in handle.responses] == [True]


def test_an_answer_cancels_nothing() -> None:
    async def answer() -> Answers:
        return Answers("1", ({"label": "a"},))

    async def scene() -> Handle:
        handle = Handle(answer)
        model = remote_model(handle)
        assert (await model.predict([{"text": "a"}])).rows == ({"label": "a"},)
        return handle

    assert [response.is_cancelled for response in asyncio.run(scene()).responses] == [False]
