"""A request that a candidate answers in its champion's place, or that both are asked with."""

import asyncio
import time
from collections.abc import Callable, Sequence

from aiplat.serving.metering.usage import UsageRecord
from aiplat.serving.releases.comparison import Comparison, differences
from aiplat.serving.releases.release import Release
from aiplat.serving.served import (
    Answers,
    ModelInfo,
    Row,
    RowsError,
    ServedModel,
    is_finite,
)

# Keeps a comparison.
Note = Callable[[Comparison], None]


class UselessAnswerError(Exception):
    """An answer that cannot be given to anybody. compute_s: its share of passes."""

    def __init__(self, why: str, compute_s: float) -> None:
        self.compute_s = compute_s
        super().__init__(why)


class Canary:
    """The candidate, and the champion where that has no answer: the user always gets one.

    record: of the request; says who was asked. patience_s: how long the candidate has.
    """

    def __init__(
        self,
        release: Release,
        champion: ServedModel,
        candidate: ServedModel,
        record: UsageRecord,
        note: Note,
        patience_s: float,
    ) -> None:
        self.info: ModelInfo = candidate.info
        self._release, self._record, self._note = release, record, note
        self._champion, self._candidate = champion, candidate
        self._patience_s = patience_s
        self.fell_back = False

    async def predict(self, rows: Sequence[Row]) -> Answers:
        """Answer the rows of one request. Raises what the champion raises."""
        began = time.perf_counter()
        try:
            answers = await asyncio.wait_for(self._candidate.predict(rows), self._patience_s)
            require_useful(answers, rows)
        except Exception as error:
            self.fell_back, lost_s = True, time.perf_counter() - began
            return await self._fall_back(rows, error, lost_s)
        return answers

    async def ready(self) -> bool:
        """Whether a request would be answered now."""
        return await self._champion.ready()

    async def _fall_back(self, rows: Sequence[Row], error: Exception, lost_s: float) -> Answers:
        self._record.version = self._champion.info.version
        is_failure = True
        try:
            return await self._champion.predict(rows)
        except RowsError:
            # Both refuse them: the rows are at fault.
            is_failure = False
            raise
        finally:
            if is_failure:
                self._note(
                    Comparison(
                        self._record.prediction_id,
                        self._release.id,
                        self._release.endpoint,
                        self._champion.info.version,
                        len(rows),
                        mirrored=False,
                        candidate_s=lost_s,
                        compute_s=_wasted_s(error),
                        error=told(error),
                    )
                )


class Timed:
    """A served model that remembers how long its last answer took."""

    def __init__(self, model: ServedModel) -> None:
        self.info = model.info
        self.seconds = 0.0
        self._model = model

    async def predict(self, rows: Sequence[Row]) -> Answers:
        """See `ServedModel`."""
        began = time.perf_counter()
        try:
            answers = await self._model.predict(rows)
        except BaseException:
            self.seconds = time.perf_counter() - began
            raise
        self.seconds = seconds_of(answers, began)
        return answers

    async def ready(self) -> bool:
        """See `ServedModel`."""
        return await self._model.ready()


async def compare(
    release: Release,
    asked: tuple[str, Sequence[Row], Answers, float],
    other: ServedModel,
    patience_s: float,
) -> Comparison:
    """Ask the other version what the user asked one, too.

    asked: the prediction id, the rows, the answer the user has and how long it took. Raises what a
    champion raises that is asked second: nothing can be compared then.
    """
    prediction_id, rows, given, given_s = asked
    is_candidate = other.info.version == release.candidate
    compared = Comparison(prediction_id, release.id, release.endpoint, given.version, len(rows))
    began = time.perf_counter()
    try:
        answers = await asyncio.wait_for(other.predict(rows), patience_s)
        require_useful(answers, rows)
    except Exception as error:
        if not is_candidate:
            raise
        compared.error, compared.compute_s = told(error), _wasted_s(error)
        compared.champion_s, compared.candidate_s = given_s, time.perf_counter() - began
        return compared
    taken_s = seconds_of(answers, began)
    compared.champion_s, compared.candidate_s = (
        (given_s, taken_s) if is_candidate else (taken_s, given_s)
    )
    compared.compute_s = answers.compute_s
    champion, candidate = (given, answers) if is_candidate else (answers, given)
    compared.disagreeing, compared.difference = differences(
        other.info.outputs, champion.rows, candidate.rows
    )
    return compared


def seconds_of(answers: Answers, began: float) -> float:
    """How long a version took: on its replica, where that is known, since ways to them differ."""
    return answers.model_s or time.perf_counter() - began


def require_useful(answers: Answers, rows: Sequence[Row]) -> None:
    """Raises UselessAnswerError where the answer cannot be given to anybody."""
    if len(answers.rows) != len(rows):
        why = f"{len(answers.rows)} answers to {len(rows)} rows"
        raise UselessAnswerError(why, answers.compute_s)
    if not all(map(is_finite, answers.rows)):
        raise UselessAnswerError("an answer that is not finite", answers.compute_s)


def _wasted_s(error: Exception) -> float:
    """What passes took for a failure; where no answer came, who ran them tells of it."""
    return error.compute_s if isinstance(error, UselessAnswerError) else 0.0


def told(error: Exception) -> str:
    """An error in one line, without the traceback of another process before it."""
    if isinstance(error, TimeoutError):
        return "TimeoutError: it took too long"
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[-1] if lines else ''}".rstrip(": ")
