"""Requests that both versions are asked with: what is written down, and what it does to nobody."""

import asyncio

import pytest

from aiplat.serving.releases.comparison import Comparison, differences
from aiplat.serving.releases.mirror import DROPPED, Mirror
from aiplat.tasks.fields import OutputField
from tests.serving.releases.conftest import OUTPUTS, Asker, Scene, Version, answer


async def compared(scene: Scene, count: int = 1) -> None:
    """Wait for so many comparisons."""
    for _ in range(500):
        if len(scene.notes) >= count:
            return
        await asyncio.sleep(0.01)
    pytest.fail(f"{len(scene.notes)} comparisons, expected {count}")


def test_a_shadow_changes_neither_answer_nor_bill_and_says_what_differs(scene: Scene) -> None:
    scene.set(weight=0.0, mirror=1.0)
    scene.candidate.limit = 5.0

    async def work(asker: Asker) -> None:
        response = await asker.ask(3.0, 7.0, 12.0)
        labels = [row["label"] for row in response.json()["predictions"]]
        assert labels == ["small", "small", "large"]
        await compared(scene)

    scene.run(work)
    (record,), (note,) = scene.records, scene.notes
    assert (record.version, record.compute_s, record.replica) == ("1", 0.25, "replica-1")
    assert (note.rows, note.disagreeing, note.answered_by) == (3, 1, "1")
    assert note.difference == pytest.approx(0.7)
    assert (note.compute_s, note.error, note.prediction_id) == (0.25, "", record.prediction_id)


def test_what_the_candidate_answered_is_held_against_the_champion(scene: Scene) -> None:
    scene.set(mirror=1.0)
    scene.candidate.takes_s = 0.05

    async def work(asker: Asker) -> None:
        assert await asker.version() == "2"
        await compared(scene)

    scene.run(work)
    (note,) = scene.notes
    assert (note.answered_by, note.disagreeing) == ("2", 0)
    assert note.candidate_s > 0.04 > note.champion_s


def test_a_user_never_waits_for_the_other_version(scene: Scene) -> None:
    scene.set(weight=0.0, mirror=1.0)
    scene.candidate.takes_s = 0.3

    async def work(asker: Asker) -> None:
        await asker.ask()
        assert (scene.candidate.asked, scene.notes) == ([], [])
        await compared(scene)

    scene.run(work)
    assert scene.records[0].total_s < 0.25


def test_a_candidate_that_fails_in_the_shadow_is_told_and_nobody_notices(scene: Scene) -> None:
    scene.set(weight=0.0, mirror=1.0)
    scene.candidate.fails = ZeroDivisionError("by zero")

    async def work(asker: Asker) -> None:
        assert await asker.version() == "1"
        await compared(scene)

    scene.run(work)
    assert [note.error for note in scene.notes] == ["ZeroDivisionError: by zero"]
    assert scene.counted == ["failed"]


def test_a_champion_that_is_asked_second_and_fails_says_nothing_of_anybody(scene: Scene) -> None:
    scene.set(mirror=1.0)
    scene.champion.fails = ZeroDivisionError("by zero")

    async def work(asker: Asker) -> None:
        assert await asker.version() == "2"
        while not scene.counted:
            await asyncio.sleep(0.01)

    scene.run(work)
    assert (scene.notes, scene.counted) == ([], [DROPPED])


def test_only_a_share_is_mirrored(scene: Scene) -> None:
    scene.set(weight=0.0, mirror=0.2)

    async def work(asker: Asker) -> None:
        for _ in range(200):
            await asker.ask()
            await asyncio.sleep(0)
        await asyncio.sleep(0.05)

    scene.run(work)
    assert len(scene.notes) == pytest.approx(40, abs=25)


def test_what_there_is_no_room_for_is_dropped_and_counted() -> None:
    notes: list[Comparison] = []
    counted: list[str] = []
    may_end = asyncio.Event()
    ongoing, most = 0, 0

    async def compare() -> Comparison:
        nonlocal ongoing, most
        ongoing += 1
        most = max(most, ongoing)
        await may_end.wait()
        ongoing -= 1
        return Comparison("p", "r", "sizes", "1", 1)

    async def main() -> None:
        mirror = Mirror(notes.append, counted.append, max_ongoing=3)
        for _ in range(10):
            mirror.offer(compare)
        await asyncio.sleep(0.01)
        assert counted == [DROPPED] * 7
        may_end.set()
        await asyncio.sleep(0.01)
        mirror.offer(compare)
        await asyncio.sleep(0.01)
        await mirror.close()

    asyncio.run(main())
    assert (most, len(notes)) == (3, 4)


def test_what_is_under_way_at_the_end_is_let_go(scene: Scene) -> None:
    scene.set(weight=0.0, mirror=1.0)
    scene.candidate.takes_s = 60

    async def work(asker: Asker) -> None:
        await asker.ask()
        await asyncio.sleep(0.01)
        await scene.known._mirror.close()

    scene.run(work)
    assert scene.notes == []


@pytest.mark.parametrize(
    ("kind", "one", "other", "found"),
    [
        ("label", "cat", "cat", (0, 0.0)),
        ("label", "cat", "dog", (1, 0.0)),
        ("text", "a cat", "the cat", (1, 0.0)),
        ("number", 100.0, 104.0, (0, 4 / 104)),
        ("number", 100.0, 110.0, (1, 10 / 110)),
        ("number", 0.0, 0.0, (0, 0.0)),
        ("probabilities", {"a": 0.6, "b": 0.4}, {"a": 0.4, "b": 0.6}, (1, 0.2)),
        ("probabilities", {"a": 0.6, "b": 0.4}, {"a": 0.9, "b": 0.1}, (0, 0.3)),
        ("probabilities", {"a": 0.6, "b": 0.4}, {"a": 0.6, "c": 0.4}, (0, 0.4)),
        ("vector", [1.0, 0.0], [0.0, 1.0], (0, 0.0)),
    ],
)
def test_what_it_is_to_disagree(
    kind: str, one: object, other: object, found: tuple[int, float]
) -> None:
    outputs = (OutputField("it", kind),)
    rows, largest = differences(outputs, [{"it": one}], [{"it": other}])
    assert rows == found[0]
    assert largest == pytest.approx(found[1])


def test_a_row_disagrees_once_whatever_is_wrong_with_it() -> None:
    champion, candidate = [answer(True), answer(True)], [answer(False), answer(True)]
    rows, largest = differences(OUTPUTS, champion, candidate)
    assert rows == 1
    assert largest == pytest.approx(0.7)


def test_a_slow_candidate_holds_up_nobody_who_mirrors() -> None:
    scene = Scene(candidate=Version("2", takes_s=0.2))
    scene.set(weight=0.0, mirror=1.0)

    async def work(asker: Asker) -> None:
        for _ in range(20):
            await asker.ask()
        await compared(scene, 4)

    scene.run(work)
    assert scene.counted.count(DROPPED) == 16
