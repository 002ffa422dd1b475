"""What the endpoint says when it cannot answer: problem details as RFC 9457 describes them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from aiplat.errors import AiplatError

MEDIA_TYPE = "application/problem+json"
# Where the paths of the Open Inference Protocol begin, whose clients read errors in a way of
# their own.
OPEN_INFERENCE = "/v2"
# A client with a thousand bad rows is helped by the first few.
MAX_PROBLEMS = 20

_KINDS = {
    400: ("malformed-request", "The request cannot be read"),
    404: ("not-found", "There is nothing here"),
    405: ("method-not-allowed", "This address does not take that method"),
    408: ("body-too-slow", "The request body did not arrive in time"),
    413: ("body-too-large", "The request body is too large"),
    415: ("unsupported-media-type", "The request body is of a type that is not read here"),
    422: ("invalid-input", "The input is not what the model takes"),
    500: ("internal-error", "The server failed"),
    503: ("overloaded", "The model cannot take the request now"),
    504: ("timeout", "The model did not answer in time"),
}


@dataclass(frozen=True)
class FieldProblem:
    """What is wrong with one field. `field` is a path into the request, like `inputs[2].image`."""

    field: str
    detail: str


class ProblemError(AiplatError):
    """A request that is answered with a problem instead of predictions.

    kind: the last part of its type, and its title; None: those of its status.
    """

    kind: tuple[str, str] | None = None

    def __init__(
        self,
        status: int,
        detail: str,
        errors: Sequence[FieldProblem] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status = status
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        super().__init__(detail)


def invalid_input(errors: Sequence[FieldProblem]) -> ProblemError:
    """The problem of a request whose fields are wrong; it leads with the first of them."""
    first = errors[0]
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return ProblemError(422, f"{first.field} {first.detail}{more}", errors)


def problem_response(error: ProblemError, request_id: str, path: str = "") -> Response:
    """The answer that tells of the problem; `field` and `errors` are there where fields are.

    path: of the request. Below OPEN_INFERENCE `error` repeats the detail, for stock clients.
    """
    of_status = _KINDS.get(error.status, (f"http-{error.status}", "The request was refused"))
    slug, title = error.kind or of_status
    body = {
        "type": f"urn:aiplat:problem:{slug}",
        "title": title,
        "status": error.status,
        "detail": error.detail,
        "request_id": request_id,
    }
    if error.errors:
        body["field"] = error.errors[0].field
        body["errors"] = [asdict(problem) for problem in error.errors[:MAX_PROBLEMS]]
    if path.startswith(OPEN_INFERENCE):
        body["error"] = error.detail
    # Half of a surrogate pair, which a request may name a field with, is written as its escape.
    content = json.dumps(body, ensure_ascii=False).encode(errors="backslashreplace")
    return Response(content, error.status, headers=error.headers, media_type=MEDIA_TYPE)


async def answer_problem(request: Request, error: Exception) -> Response:
    """Exception handler: ProblemError, and the routing errors of the framework."""
    if isinstance(error, HTTPException):
        error = ProblemError(error.status_code, _routing_detail(request, error), (), error.headers)
    if not isinstance(error, ProblemError):
        raise error
    return problem_response(error, request.state.request_id, request.url.path)


def _routing_detail(request: Request, error: HTTPException) -> str:
    if error.status_code == 404:
        return f"no such path: {request.url.path}; GET /v1/models lists the models"
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "another method")
        return f"{request.url.path} takes {allowed}, not {request.method}"
    return str(error.detail)
