"""One copy of a model: encodes each request by itself, and answers the rows of many in one pass.

It knows no cluster.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import pad

from aiplat.errors import DataError
from aiplat.inference.predictor import RowError
from aiplat.serving.batch_size import PassCost
from aiplat.serving.batching import Batcher
from aiplat.serving.config import BatchingConfig
from aiplat.serving.fields import FieldError, check_pixels
from aiplat.serving.lateness import Lateness
from aiplat.serving.schemas import model_row
from aiplat.serving.served import (
    Answer,
    Answers,
    Fault,
    ModelInfo,
    OverloadError,
    Row,
    RowsError,
)
from aiplat.tasks.task import Batch


class BatchPredictor(Protocol):
    """A model version made callable, in two steps."""

    def encode(self, rows: Sequence[Mapping[str, Any]]) -> Batch:
        """Tensors of the rows. Safe in several threads at once. Raises RowError."""
        ...

    def predict(self, batch: Batch) -> list[Answer]:
        """One answer for each encoded row; called in one thread at a time."""
        ...


@dataclass(frozen=True)
class _Passed:
    """What a pass of the model gave a row. began_at, seconds: of the row's share of the pass."""

    outcome: Answer | Exception
    began_at: float
    seconds: float


@dataclass(frozen=True)
class Place:
    """What a replica is among others.

    name: of this copy. ran: told the rows and the seconds of each pass. unclaimed: told the seconds
    of passes that no answer speaks for, since its request left or failed. max_in_hand: requests at
    once; the next are refused. lateness: told how long requests take; None: nobody asks. computing:
    one thread for the passes of several models; None: a thread of its own.
    """

    name: str = ""
    ran: Callable[[int, float], None] = lambda _, __: None
    unclaimed: Callable[[float], None] = lambda _: None
    max_in_hand: int = 1000
    lateness: Lateness | None = None
    computing: ThreadPoolExecutor | None = None


_ALONE = Place()


class Replica:
    """Answers requests, joining their rows, and tells a bad row from a bug.

    threads: of the model's arithmetic.
    """

    def __init__(
        self,
        predictor: BatchPredictor,
        info: ModelInfo,
        batching: BatchingConfig,
        threads: int,
        place: Place = _ALONE,
    ) -> None:
        self._in_hand, self._max_in_hand = 0, place.max_in_hand
        self.info = info
        self._name, self._ran, self._unclaimed = place.name, place.ran, place.unclaimed
        self._lateness = place.lateness
        self._predictor = predictor
        self._images = [field.name for field in info.inputs if field.kind == "image"]
        self._batching = batching
        torch.set_num_threads(threads)
        # OpenMP counts by the thread that asks, so those of the pools need to be told as well.
        self._encoding = ThreadPoolExecutor(
            max(2, threads), initializer=torch.set_num_threads, initargs=(threads,)
        )
        self._computing = place.computing or ThreadPoolExecutor(
            1, initializer=torch.set_num_threads, initargs=(threads,)
        )
        self._batcher = Batcher(
            self._compute,
            batching.max_batch_size,
            batching.wait_s,
            lost=lambda passed: self._unclaimed(passed.seconds),
            batch_size=self._batch_size,
        )
        self._cost: PassCost | None = None
        self._lost_device: Exception | None = None

    def warm_up(self) -> None:
        """Answer full batches of examples and lone ones: no request pays for what the first cost.

        What they take decides how many requests a pass will answer. Raises what the model does.
        """
        row = self._encode([model_row(self.info.inputs)])
        full = self._batching.max_batch_size
        # Engines may compute a lone row in another way.
        full_s, lone_s = (
            min(self._computing.submit(self._timed, row * size).result() for _ in range(2))
            for size in (full, 1)
        )
        self._cost = PassCost.measured(lone_s, full_s, full)

    def _timed(self, rows: Sequence[Batch]) -> float:
        began_at = time.perf_counter()
        for outcome in self._answer(rows):
            if isinstance(outcome, Exception):
                raise outcome
        return time.perf_counter() - began_at

    def _batch_size(self, waiting: int, pause_s: float) -> int:
        return self._cost.batch_size(waiting, pause_s) if self._cost is not None else waiting

    async def predict(self, rows: Sequence[Row]) -> Answers:
        """Answer the rows of one request.

        Raises RowsError where they are at fault, OverloadError where too many wait already.
        """
        if self._in_hand >= self._max_in_hand:
            if self._lateness is not None:
                self._lateness.refused()
            raise OverloadError(f"too many requests wait for {self.info.name}")
        came_at = time.perf_counter()
        self._in_hand += 1
        try:
            answers = await self._answered(rows, came_at)
        finally:
            self._in_hand -= 1
        if self._lateness is not None:
            self._lateness.answered(time.perf_counter() - came_at, answers.queue_s)
        return answers

    async def _answered(self, rows: Sequence[Row], came_at: float) -> Answers:
        loop = asyncio.get_running_loop()
        encoded = await loop.run_in_executor(self._encoding, self._encode, rows)
        passed = await self._batcher.ask(encoded)
        compute_s = sum(each.seconds for each in passed)
        answers: list[Answer] = []
        for each in passed:
            if isinstance(each.outcome, Exception):
                self._unclaimed(compute_s)
                raise each.outcome
            answers.append(each.outcome)
        return Answers(
            self.info.version,
            tuple(answers),
            self._name,
            compute_s=compute_s,
            queue_s=min(each.began_at for each in passed) - came_at,
            model_s=time.perf_counter() - came_at,
        )

    def check(self) -> None:
        """Raise what made this copy useless, where something did."""
        if self._lost_device is not None:
            raise self._lost_device

    def _encode(self, rows: Sequence[Row]) -> list[Batch]:
        """Each row as a batch of its own, to meet those of other requests. Raises RowsError."""
        try:
            batch = self._predictor.encode(rows)
        except Exception as error:
            faults = self._faults(rows, error)
            if not faults:
                raise
            raise RowsError(faults) from error
        return [
            {name: tensor[row : row + 1] for name, tensor in batch.items()}
            for row in range(len(rows))
        ]

    async def _compute(self, rows: list[Batch]) -> list[_Passed]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._computing, self._pass, rows)

    def _pass(self, rows: list[Batch]) -> list[_Passed]:
        began_at = time.perf_counter()
        outcomes = self._answer(rows)
        seconds = time.perf_counter() - began_at
        self._ran(len(rows), seconds)
        return [_Passed(outcome, began_at, seconds / len(rows)) for outcome in outcomes]

    def _answer(self, rows: Sequence[Batch]) -> list[Answer | Exception]:
        """One answer for each encoded row, or what went wrong with it.

        Rows that fail together are halved until the bad ones stand alone, so that none spoils
        another's answer.
        """
        try:
            return list(self._predictor.predict(join(rows)))
        except Exception as error:
            # A GPU does not come back to the process that had the error.
            if isinstance(error, torch.AcceleratorError):
                self._lost_device = error
            if len(rows) == 1 or self._lost_device is not None:
                return [error] * len(rows)
        middle = len(rows) // 2
        return [*self._answer(rows[:middle]), *self._answer(rows[middle:])]

    def _faults(self, rows: Sequence[Row], error: Exception) -> dict[int, Fault]:
        """The rows to blame for an error of encoding; none where the fault is ours."""
        damaged = dict(self._damaged(rows))
        if damaged:
            return damaged
        if isinstance(error, RowError):
            return {error.row: Fault(error.field, error.detail)}
        if isinstance(error, DataError):
            return {row: Fault(None, str(error)) for row in range(len(rows))}
        return {}

    def _damaged(self, rows: Sequence[Row]) -> Iterator[tuple[int, Fault]]:
        for index, row in enumerate(rows):
            for name in self._images:
                try:
                    check_pixels(row.get(name))
                except FieldError as damage:
                    yield index, Fault(name, str(damage))


def join(rows: Sequence[Batch]) -> Batch:
    """The rows as one batch.

    Where rows differ in length the shorter are filled up with zeros, which in a mask is false: what
    tasks make of varying length has a mask that is false on padding.
    """
    return {name: _stacked([row[name] for row in rows]) for name in rows[0]}


def _stacked(tensors: Sequence[Tensor]) -> Tensor:
    shape = [max(sizes) for sizes in zip(*(tensor.shape[1:] for tensor in tensors), strict=True)]
    return torch.cat([_filled(tensor, shape) for tensor in tensors])


def _filled(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    room = [wanted - size for wanted, size in zip(shape, tensor.shape[1:], strict=True)]
    if not any(room):
        return tensor
    # It takes (before, after) from the last dimension to the first.
    return pad(tensor, [amount for size in reversed(room) for amount in (0, size)])
