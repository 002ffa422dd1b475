"""Who answers a request while a release runs, and what the user sees of it."""

import asyncio
from collections import Counter

import pytest

from aiplat.serving.config import ServingConfig
from aiplat.serving.releases.release import PATIENCE_S
from aiplat.serving.served import Fault, OverloadError, RowsError
from tests.serving.releases.conftest import Asker, Scene, Version

KEYS = [f"key{number}" for number in range(1000)]


def test_a_key_is_always_answered_by_one_version_and_larger_weights_move_keys_one_way() -> None:
    scene, before = Scene(), set[str]()

    async def work(asker: Asker) -> None:
        nonlocal before
        for weight in (0.01, 0.1, 0.5, 1.0):
            scene.set(weight=weight)
            await scene.look()
            moved = {key for key in KEYS if await asker.version(key) == "2"}
            again = {key for key in KEYS[:50] if await asker.version(key) == "2"}
            assert again == moved & set(KEYS[:50])
            assert before <= moved
            assert len(moved) / len(KEYS) == pytest.approx(weight, abs=0.05)
            before = moved

    scene.run(work)
    assert len(before) == len(KEYS)


def test_without_stickiness_the_requests_of_one_key_are_divided(scene: Scene) -> None:
    scene.set(weight=0.3, sticky="none")

    async def work(asker: Asker) -> None:
        answered = Counter([await asker.version() for _ in range(300)])
        assert answered["2"] == pytest.approx(90, abs=35)

    scene.run(work)


def test_without_keys_an_address_is_always_answered_by_one_version(scene: Scene) -> None:
    scene.set(weight=0.5)

    async def work(asker: Asker) -> None:
        assert len({await asker.version(key="") for _ in range(20)}) == 1

    scene.run(work)


def test_answers_and_bills_name_the_version_that_answered(scene: Scene) -> None:
    async def work(asker: Asker) -> None:
        response = await asker.ask(3.0)
        assert response.json()["version"] == response.headers["X-Model-Version"] == "2"

    scene.run(work)
    (record,) = scene.records
    assert (record.version, record.replica, record.compute_s) == ("2", "replica-2", 0.25)


def test_a_version_that_is_asked_for_by_its_number_answers_itself(scene: Scene) -> None:
    async def work(asker: Asker) -> None:
        body = {"inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [3.0]}]}
        for path, version in (("models/sizes", "2"), ("models/sizes/versions/1", "1")):
            response = await asker.client.post(f"/v2/{path}/infer", json=body)
            assert response.status_code == 200
            assert response.json()["model_version"] == version

    scene.run(work)


def test_a_release_that_nobody_watches_any_more_has_no_weight(scene: Scene) -> None:
    async def work(asker: Asker) -> None:
        assert await asker.version() == "2"
        # The job was killed: its row stays as it was.
        for _ in range(int(PATIENCE_S)):
            scene.now += 1
            await scene.known.look()
            assert await asker.version() == "2"
        scene.now += 1
        assert await asker.version() == "1"

    scene.run(work)


def test_a_row_that_a_dead_job_left_never_gets_any_weight(scene: Scene) -> None:
    async def main() -> None:
        # An endpoint that has just started sees a heartbeat, and not how old it is.
        await scene.known.look()
        await scene.known.look()
        async with scene.client() as client:
            assert await Asker(client).version() == "1"

    asyncio.run(main())


def test_a_release_that_has_ended_or_is_of_another_champion_has_no_weight(scene: Scene) -> None:
    async def work(asker: Asker) -> None:
        scene.set(champion="7")
        await scene.look()
        assert await asker.version() == "1"
        scene.set(champion="1")
        await scene.look()
        assert await asker.version() == "2"
        scene.is_running = False
        await scene.look()
        assert await asker.version() == "1"

    scene.run(work)


def test_a_rollback_is_noticed_by_the_endpoint_itself_within_two_seconds(scene: Scene) -> None:
    async def main() -> None:
        async with scene.known, scene.client() as client:
            asker = Asker(client)
            while await asker.version() == "1":
                scene.set(heartbeat=scene.release.heartbeat + 1)
                await asyncio.sleep(0.05)
            scene.is_running = False
            await asyncio.sleep(2)
            assert await asker.version() == "1"

    asyncio.run(main())


@pytest.mark.parametrize(
    ("candidate", "told"),
    [
        (Version("2", fails=ZeroDivisionError("by\nzero")), "ZeroDivisionError: zero"),
        (Version("2", fails=OverloadError("no replica")), "OverloadError: no replica"),
        (Version("2", takes_s=60), "TimeoutError: it took too long"),
        (
            Version("2", fails=RowsError({0: Fault("x", "too odd")})),
            "RowsError: row 0: too odd",
        ),
    ],
)
def test_where_the_candidate_has_no_answer_the_champion_gives_one(
    candidate: Version, told: str
) -> None:
    scene = Scene(candidate=candidate, config=ServingConfig(request_timeout_s=0.2))

    async def work(asker: Asker) -> None:
        assert await asker.version() == "1"

    scene.run(work)
    (note,) = scene.notes
    (record,) = scene.records
    assert (note.error, note.answered_by, note.mirrored) == (told, "1", False)
    assert note.prediction_id == record.prediction_id
    # The user pays for the answer alone.
    assert (record.version, record.replica, record.compute_s) == ("1", "replica-1", 0.25)


def test_an_answer_that_is_not_finite_is_not_given(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    wild = {"label": "large", "probabilities": {"large": float("nan")}}
    monkeypatch.setattr(
        "tests.serving.releases.conftest.answer",
        lambda is_large: wild if len(scene.champion.asked) == 0 else {"label": "small"},
    )

    async def work(asker: Asker) -> None:
        assert await asker.version() == "1"

    scene.run(work)
    (note,) = scene.notes
    assert note.error == "UselessAnswerError: an answer that is not finite"
    # The champion's are on the bill, and these are on nobody's.
    assert (note.compute_s, scene.records[0].compute_s) == (0.25, 0.25)


def test_rows_that_both_versions_refuse_are_nobodys_failure() -> None:
    refusal = RowsError({0: Fault("x", "too odd")})
    scene = Scene(champion=Version("1", fails=refusal), candidate=Version("2", fails=refusal))

    async def work(asker: Asker) -> None:
        assert (await asker.ask()).status_code == 422

    scene.run(work)
    assert scene.notes == []


def test_a_failure_of_both_is_told_to_the_user_and_counted() -> None:
    busy = OverloadError("too much to do")
    scene = Scene(champion=Version("1", fails=busy), candidate=Version("2", fails=busy))

    async def work(asker: Asker) -> None:
        assert (await asker.ask()).status_code == 503

    scene.run(work)
    assert [note.error for note in scene.notes] == ["OverloadError: too much to do"]
    assert [(record.version, record.status) for record in scene.records] == [("1", 503)]


def test_a_database_that_is_away_ends_a_canary(scene: Scene) -> None:
    async def work(asker: Asker) -> None:
        def fail() -> list[object]:
            raise ConnectionError("no route")

        scene.known._read = fail  # type: ignore[assignment]
        scene.now += PATIENCE_S + 1
        with pytest.raises(ConnectionError):
            await scene.known.look()
        assert await asker.version() == "1"

    scene.run(work)
