import asyncio
from collections.abc import Awaitable, Callable

import pytest

from aiplat.serving.batching import Batcher


class Model:
    """Doubles numbers, a batch at a time, each batch held until it is let go."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = asyncio.Semaphore(0)

    async def answer(self, items: list[int]) -> list[int]:
        self.batches.append(items)
        await self.gate.acquire()
        return [2 * item for item in items]


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0)


def asked(batcher: Batcher[int, int], items: range) -> list[asyncio.Task[int]]:
    """Each item by a caller of its own."""

    async def ask(item: int) -> int:
        (outcome,) = await batcher.ask([item])
        return outcome

    return [asyncio.create_task(ask(item)) for item in items]


def run(scene: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        await asyncio.wait_for(scene(), 10)

    asyncio.run(limited())


def test_items_gather_while_a_batch_is_answered() -> None:
    async def scene() -> None:
        model = Model()
        batcher = Batcher(model.answer, max_batch_size=4, wait_s=0)
        first = asked(batcher, range(1))
        await until(lambda: len(model.batches) == 1)
        rest = asked(batcher, range(1, 7))
        await asyncio.sleep(0.01)
        assert model.batches == [[0]]
        for _ in range(3):
            model.gate.release()
        assert await asyncio.gather(*first, *rest) == [0, 2, 4, 6, 8, 10, 12]
        assert model.batches == [[0], [1, 2, 3, 4], [5, 6]]

    run(scene)


def test_a_batch_takes_as_many_as_it_is_told_and_of_a_caller_all() -> None:
    told: list[int] = []

    def two_at_most(waiting: int, _: float) -> int:
        told.append(waiting)
        return min(waiting, 2)

    async def scene() -> None:
        model = Model()
        batcher = Batcher(model.answer, max_batch_size=4, wait_s=0, batch_size=two_at_most)
        first = asked(batcher, range(1))
        await until(lambda: len(model.batches) == 1)
        rest = asked(batcher, range(1, 4))
        many = asyncio.create_task(batcher.ask([4, 5, 6, 7, 8, 9]))
        await asyncio.sleep(0.01)
        for _ in range(5):
            model.gate.release()
        await asyncio.gather(*first, *rest)
        assert await many == [8, 10, 12, 14, 16, 18]
        assert model.batches == [[0], [1, 2], [3, 4], [5, 6, 7, 8], [9]]
        assert told == [1, 9, 7, 5, 1]

    run(scene)


def test_a_full_batch_does_not_wait() -> None:
    async def scene() -> None:
        model = Model()
        batcher = Batcher(model.answer, max_batch_size=3, wait_s=3600)
        model.gate.release()
        assert await asyncio.gather(*asked(batcher, range(3))) == [0, 2, 4]
        assert model.batches == [[0, 1, 2]]

    run(scene)


def test_a_batch_that_is_not_full_goes_when_its_first_item_waited_long_enough() -> None:
    async def scene() -> None:
        model = Model()
        batcher = Batcher(model.answer, max_batch_size=30, wait_s=0.1)
        for _ in range(2):
            model.gate.release()
        # So many at once tell that callers come often.
        await asyncio.gather(*asked(batcher, range(20)))
        assert await asyncio.gather(*asked(batcher, range(2))) == [0, 2]
        assert model.batches == [[*range(20)], [0, 1]]

    run(scene)


def test_who_comes_alone_does_not_wait() -> None:
    async def scene() -> None:
        model = Model()
        batcher = Batcher(model.answer, max_batch_size=8, wait_s=0.01)
        model.gate.release()
        # Of the first one nobody knows.
        await batcher.ask([0])
        for item in range(1, 4):
            # As if nobody had come for a while.
            batcher._came_at -= 10
            model.gate.release()
            caller = asyncio.create_task(batcher.ask([item, item + 1]))
            # Without the clock: as soon as it is its turn.
            for _ in range(10):
                await asyncio.sleep(0)
            assert model.batches[item:] == [[item, item + 1]]
            assert await caller == [2 * item, 2 * item + 2]

    run(scene)


def test_who_comes_among_many_waits_for_the_next() -> None:
    async def scene() -> None:
        model = Model()
        batcher = Batcher(model.answer, max_batch_size=30, wait_s=3600)
        model.gate.release()
        crowd = asked(batcher, range(29))
        await asyncio.sleep(0.05)
        assert model.batches == []
        await batcher.ask([29])
        assert await asyncio.gather(*crowd) == [2 * item for item in range(29)]

    run(scene)


def test_an_item_nobody_waits_for_is_left_out() -> None:
    async def scene() -> None:
        model = Model()
        batcher = Batcher(model.answer, max_batch_size=3, wait_s=0)
        (first,) = asked(batcher, range(1))
        await until(lambda: len(model.batches) == 1)
        gone, kept = asked(batcher, range(1, 3))
        await asyncio.sleep(0)
        gone.cancel()
        model.gate.release()
        model.gate.release()
        assert [await first, await kept] == [0, 4]
        assert model.batches == [[0], [2]]

    run(scene)


def test_who_leaves_holds_no_place_in_a_batch() -> None:
    async def scene() -> None:
        model = Model()
        batcher = Batcher(model.answer, max_batch_size=3, wait_s=3600)
        leaving = asyncio.create_task(batcher.ask([0, 1]))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.wait([leaving])
        assert leaving.cancelled()
        model.gate.release()
        # With a place for those who left it would go with less than three.
        assert await asyncio.gather(*asked(batcher, range(2, 5))) == [4, 6, 8]
        assert model.batches == [[2, 3, 4]]

    run(scene)


def test_outcomes_of_who_left_are_told_once() -> None:
    async def scene() -> None:
        model, lost = Model(), list[int]()
        batcher = Batcher(model.answer, max_batch_size=2, wait_s=0, lost=lost.append)
        # Three batches: of the one, of both, of the other one.
        leaving = asyncio.create_task(batcher.ask([1, 2, 3]))
        await asyncio.sleep(0)
        staying = asyncio.create_task(batcher.ask([4, 5]))
        model.gate.release()
        await until(lambda: len(model.batches) == 2)
        assert lost == []
        leaving.cancel()
        await asyncio.wait([leaving])
        # Of the batch before; the one under way goes on.
        assert lost == [2, 4]
        model.gate.release()
        model.gate.release()
        assert await staying == [8, 10]
        assert model.batches == [[1, 2], [3, 4], [5]]
        assert lost == [2, 4, 6]

    run(scene)


def test_an_outcome_that_comes_as_its_caller_leaves_is_told() -> None:
    async def scene() -> None:
        lost = list[int]()

        async def answer(items: list[int]) -> list[int]:
            # Its turn comes after the outcome is known, and before the caller has it.
            asyncio.get_running_loop().call_soon(leaving.cancel)
            return items

        batcher = Batcher(answer, max_batch_size=1, wait_s=0, lost=lost.append)
        leaving = asyncio.create_task(batcher.ask([1]))
        await asyncio.wait([leaving])
        assert leaving.cancelled()
        assert lost == [1]

    run(scene)


def test_outcomes_beside_a_failure_are_told() -> None:
    lost = list[int]()

    async def answer(items: list[int]) -> list[int]:
        if 3 in items:
            raise ValueError("three")
        return items

    async def scene() -> None:
        batcher = Batcher(answer, max_batch_size=2, wait_s=0, lost=lost.append)
        with pytest.raises(ValueError, match="three"):
            await batcher.ask([1, 2, 3, 4, 5, 6])
        await until(lambda: len(lost) == 4)
        # It took the other two while the first ones heard of it.
        assert sorted(lost) == [1, 2, 5, 6]

    run(scene)


def test_a_failure_is_told_to_all_of_its_batch_and_to_no_other() -> None:
    async def answer(items: list[int]) -> list[int]:
        if 1 in items:
            raise ValueError("one")
        return items

    async def scene() -> None:
        batcher = Batcher(answer, max_batch_size=2, wait_s=3600)
        first = await asyncio.gather(*asked(batcher, range(2)), return_exceptions=True)
        assert [str(outcome) for outcome in first] == ["one", "one"]
        assert await asyncio.gather(*asked(batcher, range(2, 4))) == [2, 3]

    run(scene)


def test_an_answer_of_the_wrong_length_is_a_failure() -> None:
    async def answer(items: list[int]) -> list[int]:
        return items[:-1]

    async def scene() -> None:
        batcher = Batcher(answer, max_batch_size=2, wait_s=3600)
        outcomes = await asyncio.gather(*asked(batcher, range(2)), return_exceptions=True)
        assert all(isinstance(outcome, ValueError) for outcome in outcomes)

    run(scene)
