"""One model copy under many requests at once: nobody's answer depends on who else asked."""

import asyncio
import io
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn

from aiplat.inference.predictor import Predictor, RowError
from aiplat.serving.config import BatchingConfig
from aiplat.serving.lateness import Lateness
from aiplat.serving.metering.account import Account, Reconciliation
from aiplat.serving.metering.prices import PriceList
from aiplat.serving.metering.replica_time import ReplicaClock
from aiplat.serving.metering.usage import UsageRecord
from aiplat.serving.replica import Place, Replica, join
from aiplat.serving.served import Answer, Answers, Fault, ModelInfo, OverloadError, Row, RowsError
from aiplat.tasks.fields import InputField
from aiplat.tasks.task import Batch
from tests.serving.shapes import picture, shapes_folder

INFO = ModelInfo(
    name="letters",
    version="1",
    inputs=(InputField("text", "text"), InputField("image", "image", required=False)),
    outputs=(),
)


class Letters:
    """Attends over the letters of a text; its batches are as wide as their longest row.

    It fails on every batch with the text `bug`, and refuses what is no text.
    """

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.embedding = nn.Embedding(256, 16).eval()
        self.attention = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True).eval()
        self.sizes: list[int] = []
        self.failure: Exception = RuntimeError("a bug")

    def encode(self, rows: Sequence[Mapping[str, Any]]) -> Batch:
        for index, row in enumerate(rows):
            if not row["text"].isascii():
                raise RowError(index, "text", "expected ASCII")
            if row.get("image"):
                Image.open(io.BytesIO(row["image"])).load()
        width = max(len(row["text"]) for row in rows)
        tokens = torch.zeros(len(rows), width, dtype=torch.int64)
        mask = torch.zeros(len(rows), width, dtype=torch.bool)
        for index, row in enumerate(rows):
            letters = torch.tensor(list(row["text"].encode()))
            tokens[index, : len(letters)] = letters
            mask[index, : len(letters)] = True
        is_bug = torch.tensor([row["text"] == "bug" for row in rows])
        return {"tokens": tokens, "mask": mask, "is_bug": is_bug}

    def predict(self, batch: Batch) -> list[Answer]:
        self.sizes.append(len(batch["tokens"]))
        if batch["is_bug"].any():
            raise self.failure
        mask = batch["mask"]
        with torch.inference_mode():
            states = self.attention(self.embedding(batch["tokens"]), src_key_padding_mask=~mask)
        summed = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return [{"vector": row} for row in summed.tolist()]


def ask_together(replica: Replica, requests: Sequence[list[Row]]) -> list[Answers | BaseException]:
    async def scene() -> list[Answers | BaseException]:
        asked = (replica.predict(rows) for rows in requests)
        return await asyncio.gather(*asked, return_exceptions=True)

    return asyncio.run(scene())


def vectors(answers: Answers | BaseException) -> torch.Tensor:
    assert isinstance(answers, Answers)
    return torch.tensor([row["vector"] for row in answers.rows])


@pytest.fixture
def letters() -> Letters:
    return Letters()


@pytest.fixture
def replica(letters: Letters) -> Replica:
    return Replica(letters, INFO, BatchingConfig(max_batch_size=8, wait_s=0.02), threads=1)


def test_answers_do_not_depend_on_the_batch_they_were_joined_to(
    replica: Replica, letters: Letters
) -> None:
    texts = ["a", "much longer than the others are", "short", "of middling length", "x" * 60]
    requests: list[list[Row]] = [[{"text": text}] for text in texts] + [
        [{"text": text} for text in reversed(texts)]
    ]
    together = ask_together(replica, requests)
    assert max(letters.sizes) == 8
    for rows, answers in zip(requests, together, strict=True):
        alone = torch.tensor([letters.predict(letters.encode([row]))[0]["vector"] for row in rows])
        assert (vectors(answers) - alone).abs().max() < 1e-5
    assert (vectors(together[0]) - vectors(together[1])).abs().max() > 0.1


def test_answers_of_a_model_version_are_those_of_its_predictor(tmp_path: Path) -> None:
    predictor = Predictor.open(shapes_folder(tmp_path), "cpu")
    info = ModelInfo("shapes", "1", predictor.task_inputs, predictor.task_outputs)
    replica = Replica(predictor, info, BatchingConfig(max_batch_size=8, wait_s=0.02), threads=1)
    replica.warm_up()
    rows: list[Row] = [
        {"image": picture(red) if red % 3 else None, "text": "is it red? " * red}
        for red in range(12)
    ]
    expected = [row["probabilities"] for row in predictor(rows)]
    together = ask_together(replica, [*([row] for row in rows), rows])
    answered = [row for answers in together if isinstance(answers, Answers) for row in answers.rows]
    assert len(answered) == 24
    for answer, wanted in zip(answered, 2 * expected, strict=True):
        assert answer["probabilities"] == pytest.approx(wanted, abs=1e-5)
    circles = [row["circle"] for row in expected]
    assert max(circles) - min(circles) > 1e-2


def test_a_bad_row_spoils_no_other_request(replica: Replica) -> None:
    stream = io.BytesIO()
    Image.linear_gradient("L").save(stream, "PNG")
    cut = {"text": "a", "image": stream.getvalue()[:-200]}
    requests: list[list[Row]] = [
        [{"text": "a"}],
        [{"text": "b"}, {"text": "é"}],
        [{"text": "c"}, cut],
        [{"text": "d"}, {"text": "bug"}],
        [{"text": "a"}],
    ]
    good, refused, damaged, failed, also_good = ask_together(replica, requests)
    assert (vectors(good) - vectors(also_good)).abs().max() < 1e-5
    assert isinstance(refused, RowsError)
    assert refused.faults == {1: Fault("text", "expected ASCII")}
    assert isinstance(damaged, RowsError)
    assert damaged.faults.keys() == {1}
    assert damaged.faults[1].field == "image"
    assert "damaged" in damaged.faults[1].detail
    assert isinstance(failed, RuntimeError)


def test_more_than_may_wait_are_refused_and_the_others_answered(letters: Letters) -> None:
    replica = Replica(letters, INFO, BatchingConfig(), threads=1, place=Place(max_in_hand=3))
    requests = [[{"text": str(number)}] for number in range(5)]
    outcomes = ask_together(replica, requests)
    assert [type(outcome) for outcome in outcomes] == [Answers] * 3 + [OverloadError] * 2


def test_how_late_requests_are_is_counted_with_those_that_are_refused(letters: Letters) -> None:
    lateness = Lateness(limit_s=3600)
    place = Place(max_in_hand=3, lateness=lateness)
    replica = Replica(letters, INFO, BatchingConfig(), threads=1, place=place)
    ask_together(replica, [[{"text": str(number)}] for number in range(5)])
    assert lateness.report() == {"requests": 5, "close": 2, "late": 2, "waited": 2}


class Held(Letters):
    """Encodes and answers each batch when it is let to; knows the texts that came so far."""

    def __init__(self) -> None:
        super().__init__()
        self.may_encode, self.may_answer = threading.Semaphore(0), threading.Semaphore(0)
        self.encoding: list[str] = []
        self.num_passes = 0

    def encode(self, rows: Sequence[Mapping[str, Any]]) -> Batch:
        self.encoding += [row["text"] for row in rows]
        self.may_encode.acquire()
        return super().encode(rows)

    def predict(self, batch: Batch) -> list[Answer]:
        self.num_passes += 1
        self.may_answer.acquire()
        return super().predict(batch)


def test_rows_whose_client_left_are_not_computed() -> None:
    async def scene() -> None:
        held = Held()
        config = BatchingConfig(max_batch_size=4, wait_s=0)
        replica = Replica(held, INFO, config, threads=1, place=Place(max_in_hand=3))

        def ask(text: str, rows: int) -> asyncio.Task[Answers]:
            held.may_encode.release()
            return asyncio.create_task(replica.predict([{"text": text}] * rows))

        first = ask("first", 1)
        await until(lambda: held.num_passes == 1)
        # While the model computes the first, both wait for it.
        left, stayed = ask("left", 2), ask("stayed", 3)
        await until(lambda: len(replica._batcher._waiting) == 5)
        left.cancel()
        await asyncio.wait([left])
        for _ in range(2):
            held.may_answer.release()
        assert [len((await each).rows) for each in (first, stayed)] == [1, 3]
        assert held.sizes == [1, 3]
        # Nor does it count among those in hand.
        for _ in range(3):
            held.may_answer.release()
        together = [ask("again", 1) for _ in range(3)]
        assert [len((await each).rows) for each in together] == [1, 1, 1]

    asyncio.run(asyncio.wait_for(scene(), 60))


def test_rows_whose_client_left_are_not_encoded() -> None:
    async def scene() -> None:
        held = Held()
        replica = Replica(held, INFO, BatchingConfig(), threads=1)
        busy = [asyncio.create_task(replica.predict([{"text": "busy"}])) for _ in range(2)]
        await until(lambda: len(held.encoding) == 2)
        left = asyncio.create_task(replica.predict([{"text": "left"}]))
        await asyncio.sleep(0)
        left.cancel()
        await asyncio.wait([left])
        for _ in range(4):
            held.may_encode.release()
            held.may_answer.release()
        await asyncio.gather(*busy, replica.predict([{"text": "later"}]))
        assert held.encoding == ["busy", "busy", "later"]

    asyncio.run(asyncio.wait_for(scene(), 60))


class Paced(Held):
    """Takes a second for each pass, of a time of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 600.0

    def perf_counter(self) -> float:
        return self.now

    def predict(self, batch: Batch) -> list[Answer]:
        self.num_passes += 1
        self.may_answer.acquire()
        self.now += 1
        return Letters.predict(self, batch)


def test_the_books_close_though_requests_leave_and_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    paced = Paced()
    monkeypatch.setattr("aiplat.serving.replica.time", paced)
    clock = ReplicaClock("letters", "1", paced.perf_counter)
    place = Place(ran=lambda _, seconds: clock.ran(seconds), unclaimed=clock.unclaimed)
    config = BatchingConfig(max_batch_size=2, wait_s=0)
    replica = Replica(paced, INFO, config, threads=1, place=place)
    records: list[UsageRecord] = []

    async def ask(*texts: str) -> None:
        paced.may_encode.release()
        record = UsageRecord("letters", status=499)
        records.append(record)
        answers = await replica.predict([{"text": text} for text in texts])
        record.status, record.compute_s = 200, answers.compute_s

    async def passes(until_now: int, release: int = 0) -> None:
        for _ in range(release):
            paced.may_answer.release()
        await until(lambda: paced.num_passes == until_now)

    async def scene() -> None:
        first = asyncio.create_task(ask("first"))
        await passes(1)
        left = asyncio.create_task(ask("left", "left", "left"))
        await until(lambda: len(replica._batcher._waiting) == 3)
        stayed = asyncio.create_task(ask("stayed"))
        await until(lambda: len(replica._batcher._waiting) == 4)
        # The pass of two of its rows is over, that of the third one has begun.
        await passes(3, release=2)
        left.cancel()
        paced.may_answer.release()
        await asyncio.gather(first, stayed)
        # Rows that fail together are computed again, one by one.
        failed = asyncio.create_task(ask("good", "bug"))
        await passes(6, release=3)
        (outcome,) = await asyncio.gather(failed, return_exceptions=True)
        assert isinstance(outcome, RuntimeError)

    asyncio.run(asyncio.wait_for(scene(), 60))
    paced.now += 4
    found = Account(PriceList()).add(records).reconciled(clock.read())
    assert [record.compute_s for record in records] == [1, 0, 0.5, 0]
    assert found == Reconciliation(replica_s=10, attributed_s=1.5, idle_s=4, unclaimed_s=4.5)
    assert found.unexplained == 0


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


def test_models_that_share_a_process_compute_in_turns(letters: Letters) -> None:
    computing = ThreadPoolExecutor(1)
    clock = ReplicaClock("*", "")
    at_once: list[int] = []
    running = threading.Semaphore(1)

    class Alone(Letters):
        def predict(self, batch: Batch) -> list[Answer]:
            is_alone = running.acquire(blocking=False)
            at_once.append(1 if is_alone else 2)
            answers = super().predict(batch)
            running.release()
            return answers

    def ran(_: int, seconds: float) -> None:
        clock.ran(seconds)

    place = Place(clock.replica, ran, computing=computing)
    models = [Replica(Alone(), INFO, BatchingConfig(1, 0), 1, place) for _ in range(3)]

    async def scene() -> list[Answers]:
        asked = (model.predict([{"text": "a"}] * 4) for model in models)
        return await asyncio.gather(*asked)

    compute_s = sum(answers.compute_s for answers in asyncio.run(scene()))
    assert at_once == [1] * 12
    minutes = clock.read()
    # What the models had is what the process was busy, and that is no more than there was.
    assert sum(minute.busy_s for minute in minutes) == pytest.approx(compute_s, abs=1e-4)
    assert compute_s <= sum(minute.alive_s for minute in minutes)


def test_a_lost_device_is_reported_instead_of_tried_again(
    replica: Replica, letters: Letters
) -> None:
    replica.check()
    letters.failure = torch.AcceleratorError("illegal memory access")
    outcomes = ask_together(replica, [[{"text": "a"}], [{"text": "bug"}], [{"text": "b"}]])
    assert all(isinstance(outcome, torch.AcceleratorError) for outcome in outcomes)
    assert letters.sizes == [3]
    with pytest.raises(torch.AcceleratorError):
        replica.check()


def test_warming_up_answers_full_batches_and_lone_rows(replica: Replica, letters: Letters) -> None:
    replica.warm_up()
    assert letters.sizes == [8, 8, 1, 1]


def test_warming_up_fails_where_the_model_does(letters: Letters) -> None:
    broken = ModelInfo("letters", "1", (InputField("text", "text", example="bug"),), ())
    with pytest.raises(RuntimeError, match="a bug"):
        Replica(letters, broken, BatchingConfig(), threads=1).warm_up()


def test_rows_of_different_length_are_joined_with_zeros() -> None:
    rows = [
        {"tokens": torch.tensor([[1, 2, 3]]), "mask": torch.tensor([[True] * 3])},
        {"tokens": torch.tensor([[4]]), "mask": torch.tensor([[True]])},
    ]
    joined = join(rows)
    assert joined["tokens"].tolist() == [[1, 2, 3], [4, 0, 0]]
    assert joined["mask"].tolist() == [[True, True, True], [True, False, False]]
    square = join([{"a": torch.ones(1, 1, 2)}, {"a": torch.ones(1, 2, 1)}])
    assert square["a"].tolist() == [[[1, 1], [0, 0]], [[1, 0], [1, 0]]]
