"""Read the rows of a predict request, from JSON or from a form, into what the model takes."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from aiplat.serving.asking import Question
from aiplat.serving.config import ServingConfig
from aiplat.serving.fields import Allowance, got, nearest, read_row, shortened
from aiplat.serving.metering.usage import UsageRecord
from aiplat.serving.problems import MAX_PROBLEMS, FieldProblem, ProblemError, invalid_input
from aiplat.serving.served import Answers, ModelInfo, Row
from aiplat.tasks.fields import InputField

JSON = "application/json"
FORM = "multipart/form-data"
_INPUTS = "inputs"


async def read_question(request: Request, info: ModelInfo, config: ServingConfig) -> Question:
    """What a predict request asks. Raises ProblemError, naming every field that is wrong."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    reader = _READERS.get(media_type)
    if reader is None:
        raise ProblemError(
            415,
            f"the content type is {media_type or 'missing'}, expected {JSON} or {FORM} "
            f"(with curl: -H 'Content-Type: {JSON}', or -F for a form)",
        )
    raw_rows = await reader(request, info.inputs, config)
    return Question(check_rows(_INPUTS, raw_rows, info.inputs, config), _answer)


def _answer(answers: Answers, record: UsageRecord) -> JSONResponse:
    return JSONResponse(
        {
            "model": record.endpoint,
            "version": answers.version,
            "prediction_id": record.prediction_id,
            "predictions": list(answers.rows),
        }
    )


def check_rows(
    rows_at: str,
    raw_rows: Sequence[Mapping[str, Any]],
    inputs: Sequence[InputField],
    config: ServingConfig,
) -> list[Row]:
    """The rows as a model takes them, out of one request's values as JSON or a form holds them.

    rows_at: what the list of rows is called in the paths of wrong fields. Raises ProblemError,
    naming the fields that are wrong, as many as a client is helped by.
    """
    allowance = Allowance.of(config)
    rows: list[Row] = []
    problems: list[FieldProblem] = []
    for index, raw in enumerate(raw_rows):
        row, faults = read_row(f"{rows_at}[{index}]", raw, inputs, allowance)
        rows.append(row)
        problems.extend(faults)
        if len(problems) >= MAX_PROBLEMS:
            break
    if problems:
        raise invalid_input(problems)
    return rows


def parse_json(body: bytes) -> Any:
    """The value that a body holds. Raises ProblemError."""
    try:
        return json.loads(body)
    # Nesting beyond Python's depth is refused like any other text that is not ours.
    except (ValueError, RecursionError) as error:
        raise ProblemError(400, f"the body is not JSON: {error}") from error


async def _json_rows(
    request: Request, _inputs: Sequence[InputField], config: ServingConfig
) -> list[Mapping[str, Any]]:
    body = parse_json(await request.body())
    if not isinstance(body, dict):
        raise wrong_shape("body", f'must be an object {{"inputs": [...]}}, {got(body)}')
    for name in body:
        if name != _INPUTS:
            raise wrong_shape(
                shortened(name), f"is not a field of a request{nearest(name, [_INPUTS])}"
            )
    raw_rows = body.get(_INPUTS)
    if not isinstance(raw_rows, list):
        problem = "is required" if raw_rows is None else f"must be an array, {got(raw_rows)}"
        raise wrong_shape(_INPUTS, f"{problem}: one object for each row")
    require_row_count(len(raw_rows), config)
    problems = [
        FieldProblem(f"{_INPUTS}[{index}]", f"must be an object, {got(raw)}")
        for index, raw in enumerate(raw_rows)
        if not isinstance(raw, dict)
    ]
    if problems:
        raise invalid_input(problems)
    return raw_rows


async def _form_rows(
    request: Request, inputs: Sequence[InputField], config: ServingConfig
) -> list[Mapping[str, Any]]:
    """Rows of a form: a field given once holds for all rows, one given n times makes n rows."""
    values = await _form_values(request, inputs, config)
    num_rows = max((len(given) for given in values.values()), default=0)
    require_row_count(num_rows, config)
    for name, given in values.items():
        if len(given) not in (1, num_rows):
            raise wrong_shape(
                name, f"is given {len(given)} times, expected once or {num_rows} times"
            )
    return [
        {name: given[index if len(given) > 1 else 0] for name, given in values.items()}
        for index in range(num_rows)
    ]


async def _form_values(
    request: Request, inputs: Sequence[InputField], config: ServingConfig
) -> dict[str, list[Any]]:
    kinds = {field.name: field.kind for field in inputs}
    most = config.max_rows * max(1, len(inputs))
    values: dict[str, list[Any]] = {}
    try:
        async with request.form(
            max_files=most, max_fields=most, max_part_size=config.max_body_bytes
        ) as form:
            for name, given in form.multi_items():
                value = await _form_value(given, kinds.get(name, ""))
                values.setdefault(name, []).append(value)
    except HTTPException as error:
        raise ProblemError(400, f"the form cannot be read: {error.detail}") from error
    return values


async def _form_value(given: UploadFile | str, kind: str) -> Any:
    """The value a JSON request would hold; what a browser sends for a field left blank is None."""
    if isinstance(given, UploadFile):
        return await given.read() or (b"" if given.filename else None)
    if kind not in ("number", "category"):
        return given
    if not given.strip():
        return None
    return _number(given) if kind == "number" else given


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def require_row_count(num_rows: int, config: ServingConfig) -> None:
    """Raises ProblemError where a request has no rows, or too many."""
    if num_rows == 0:
        raise wrong_shape(_INPUTS, "is empty, expected at least one row")
    if num_rows > config.max_rows:
        raise wrong_shape(
            _INPUTS, f"has {num_rows} rows, at most {config.max_rows} (serve.max_rows)"
        )


def wrong_shape(field: str, detail: str) -> ProblemError:
    """The problem of one wrong part of a request that is not within a row."""
    return invalid_input([FieldProblem(field, detail)])


_Reader = Callable[
    [Request, Sequence[InputField], ServingConfig], Awaitable[list[Mapping[str, Any]]]
]
_READERS: dict[str, _Reader] = {JSON: _json_rows, FORM: _form_rows}
