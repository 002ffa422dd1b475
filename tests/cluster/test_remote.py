"""What an endpoint makes of a Serve handle, without a cluster."""

import asyncio
from collections.abc import Awaitable, Callable, Generator
from typing import Any

import pytest

from aiplat.serving.metering.claims import Claims
from aiplat.serving.served import Answers, ModelInfo, ServedModel

# Ray Serve declares and uses its own deprecated settings.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

INFO = ModelInfo("shapes", "1", (), ())
ROWS = [{"text": "a"}]
ANSWERS = Answers("1", ({"label": "a"},), compute_s=0.25)


class Response:
    """What a handle gives for a request: to be awaited, or to be cancelled."""

    def __init__(self, answered: Awaitable[Answers]) -> None:
        self.answered, self.is_cancelled = answered, False

    def __await__(self) -> Generator[Any, None, Answers]:
        return self.answered.__await__()

    def cancel(self) -> None:
        self.is_cancelled = True


class Handle:
    """A handle to replicas that answer as `answer` does, and keep what nobody took."""

    def __init__(self, answer: Callable[[], Awaitable[Answers]]) -> None:
        self.answer = answer
        self.responses: list[Response] = []
        self.requests: list[str] = []
        self.words: list[list[str]] = []
        self.unclaimed: list[float] = []
        self.claims = Claims(self.unclaimed.append)
        self.is_away = False

    @property
    def predict(self) -> "Handle":
        return self

    def remote(self, rows: list[dict[str, Any]], request: str) -> Response:
        self.requests.append(request)
        self.responses.append(Response(self.answer()))
        return self.responses[-1]

    def broadcast(self, method: str, requests: list[str]) -> "Handle":
        assert method == "left"
        self.words.append(requests)
        return self

    async def results_async(self, timeout_s: float) -> None:
        if self.is_away:
            raise ConnectionError("no replica")
        self.claims.left(self.words[-1])


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aiplat.cluster.remote._TELL_S", 0.01)


def remote_model(handle: Any) -> ServedModel:
    from aiplat.cluster.remote import RemoteModel

    return RemoteModel(INFO, handle)


async def never() -> Answers:
    await asyncio.sleep(3600)
    raise NotImplementedError


async def at_once() -> Answers:
    return ANSWERS


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


def run(scene: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        await asyncio.wait_for(scene(), 10)

    asyncio.run(limited())


def test_a_replica_is_told_when_nobody_waits_for_its_answer() -> None:
    async def scene() -> None:
        handle = Handle(never)
        model = remote_model(handle)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(model.predict(ROWS), 0.01)
        assert [response.is_cancelled for response in handle.responses] == [True]

    run(scene)


def test_an_answer_cancels_nothing_and_is_claimed() -> None:
    async def scene() -> None:
        handle = Handle(at_once)
        model = remote_model(handle)
        assert await model.predict(ROWS) == ANSWERS
        handle.claims.answered(handle.requests[0], ANSWERS.compute_s)
        await asyncio.sleep(0.03)
        assert [response.is_cancelled for response in handle.responses] == [False]
        assert (handle.words, handle.unclaimed) == ([], [])

    run(scene)


def test_what_a_replica_had_answered_when_its_request_was_given_up_is_unclaimed() -> None:
    async def scene() -> None:
        handle = Handle(never)
        model = remote_model(handle)
        leaving = [asyncio.create_task(model.predict(ROWS)) for _ in range(3)]
        await until(lambda: len(handle.requests) == 3)
        # Two have left the replica, of which one is on the way; one is dropped there.
        handle.claims.answered(handle.requests[0], 0.25)
        for task in leaving:
            task.cancel()
        await asyncio.wait(leaving)
        await until(lambda: handle.words)
        handle.claims.answered(handle.requests[1], 0.5)
        assert handle.words == [handle.requests]
        assert handle.unclaimed == [0.25, 0.5]

    run(scene)


def test_an_answer_that_comes_as_its_client_leaves_is_unclaimed() -> None:
    async def scene() -> None:
        async def as_it_leaves() -> Answers:
            handle.claims.answered(handle.requests[0], 0.25)
            # Its turn comes when the answer is there, and before whoever asked has it.
            asyncio.get_running_loop().call_soon(leaving.cancel)
            return ANSWERS

        handle = Handle(as_it_leaves)
        leaving = asyncio.create_task(remote_model(handle).predict(ROWS))
        await asyncio.wait([leaving])
        assert leaving.cancelled()
        await until(lambda: handle.unclaimed)
        assert handle.unclaimed == [0.25]

    run(scene)


def test_who_leaves_while_no_replica_listens_is_let_go() -> None:
    async def scene() -> None:
        handle = Handle(never)
        handle.is_away = True
        model = remote_model(handle)
        for _ in range(2):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(model.predict(ROWS), 0.01)
            await until(lambda: len(handle.words) == len(handle.requests))
        assert handle.words == [[request] for request in handle.requests]

    run(scene)
