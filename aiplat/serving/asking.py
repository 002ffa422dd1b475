"""One request to a model, whatever protocol it came by: what it used, refusals as problems."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response

from aiplat.serving.config import ServingConfig
from aiplat.serving.gate import Caller
from aiplat.serving.metering.usage import UsageRecord
from aiplat.serving.problems import FieldProblem, ProblemError, invalid_input
from aiplat.serving.releases.routing import Router
from aiplat.serving.served import (
    Answers,
    Fault,
    ModelInfo,
    OverloadError,
    Row,
    RowsError,
    ServedModel,
    is_finite,
)

VERSION_HEADER = "X-Model-Version"
PREDICTION_HEADER = "X-Prediction-Id"


@dataclass(frozen=True)
class Question:
    """What a request asks of a model, read from its protocol, and how that protocol answers.

    rows_at: what the protocol's users call the list of rows, for the paths of wrong fields.
    """

    rows: list[Row]
    answer: Callable[[Answers, UsageRecord], Response]
    rows_at: str = "inputs"


# Reads the question of a request to a model. Raises ProblemError.
Reader = Callable[[Request, ModelInfo, ServingConfig], Awaitable[Question]]


async def respond(
    request: Request, model: ServedModel, config: ServingConfig, read: Reader, router: Router
) -> Response:
    """Answer one request to a model, whatever protocol `read` reads. Raises ProblemError.

    All that is asked of models comes through here, before any of its body is read. router: picks
    the version that answers.
    """
    record = metered(request, model.info.name, model.info.version)
    question = await read(request, model.info, config)
    routed = router.route(request, model, record)
    answers = await ask(routed.model, question, config, record)
    response = question.answer(answers, record)
    response.headers.update(answer_headers(record))
    if routed.answered is not None:
        response.background = BackgroundTask(routed.answered, question.rows, answers)
    return response


def metered(request: Request, model: str, version: str) -> UsageRecord:
    """Begin the usage record of a request that was let in to ask a model."""
    caller: Caller = request.state.caller
    record = UsageRecord(
        endpoint=model, version=version, key=caller.key_id, principal=caller.principal
    )
    request.scope["state"]["usage"] = record
    return record


async def ask(
    model: ServedModel, question: Question, config: ServingConfig, record: UsageRecord
) -> Answers:
    """The model's answers to the rows of one request. Raises ProblemError."""
    # Known to be asked, whether it answers or not.
    record.rows, record.version = len(question.rows), model.info.version
    try:
        answers = await asyncio.wait_for(model.predict(question.rows), config.request_timeout_s)
    except RowsError as error:
        raise _faulty(question.rows_at, error.faults) from error
    except OverloadError as error:
        headers = {"Retry-After": str(error.retry_after_s)}
        raise ProblemError(503, str(error), headers=headers) from error
    except TimeoutError as error:
        seconds = f"{config.request_timeout_s:g} s (serve.request_timeout_s)"
        raise ProblemError(504, f"{record.endpoint} did not answer within {seconds}") from error
    record.version, record.replica = answers.version, answers.replica
    record.compute_s, record.queue_s = answers.compute_s, answers.queue_s
    record.model_s = answers.model_s
    # JSON has no word for what a model computes from inputs that overflow it.
    wild = {index: _WILD for index, row in enumerate(answers.rows) if not is_finite(row)}
    if wild:
        raise _faulty(question.rows_at, wild)
    return answers


def answer_headers(record: UsageRecord) -> dict[str, str]:
    """What an answer says of where it comes from."""
    return {VERSION_HEADER: record.version, PREDICTION_HEADER: record.prediction_id}


_WILD = Fault(None, "leads to an answer that is not finite: the model cannot take its values")


def _faulty(rows_at: str, faults: Mapping[int, Fault]) -> ProblemError:
    return invalid_input(
        [
            FieldProblem(
                f"{rows_at}[{row}].{fault.field}" if fault.field else f"{rows_at}[{row}]",
                fault.detail,
            )
            for row, fault in faults.items()
        ]
    )
