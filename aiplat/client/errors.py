"""Why a call of the client has no result, with all that the endpoint said of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from aiplat.errors import AiplatError


class ClientError(AiplatError):
    """A call has no result."""


class ConnectionFailedError(ClientError):
    """The endpoint could not be reached, or did not answer in time."""


@dataclass(frozen=True)
class FieldProblem:
    """What is wrong with one field. `field` is a path into the request, like `inputs[2].image`."""

    field: str
    detail: str


class ProblemError(ClientError):
    """The endpoint refused a request; the attributes are what its problem details say (RFC 9457).

    type: a URN that programs may go by. field: the first wrong one, with all of them in `errors`.
    """

    def __init__(self, status: int, problem: Mapping[str, Any], request_id: str) -> None:
        self.status = status
        self.type = str(problem.get("type", "about:blank"))
        self.title = str(problem.get("title", ""))
        self.detail = str(problem.get("detail", ""))
        self.field: str | None = problem.get("field")
        self.errors = tuple(
            FieldProblem(str(item.get("field", "")), str(item.get("detail", "")))
            for item in problem.get("errors", ())
        )
        self.request_id = request_id
        super().__init__(
            f"{status}: {self.detail or self.title} (request {request_id or 'unknown'})"
        )


class InvalidRequestError(ProblemError):
    """The request is wrong and will stay so: 400, 413, 415, 422 and their like."""


class AuthenticationError(ProblemError):
    """The API key is missing, unknown or may not do this: 401, 403."""


class NotFoundError(ProblemError):
    """There is no such model: 404."""


class RateLimitError(ProblemError):
    """Too many requests for this API key, and no time was left to try again: 429."""


class ServerError(ProblemError):
    """The endpoint failed, or had too much to do for as long as was tried: 5xx."""


_BY_STATUS: dict[int, type[ProblemError]] = {
    401: AuthenticationError,
    403: AuthenticationError,
    404: NotFoundError,
    429: RateLimitError,
}


def refusal(response: httpx.Response) -> ProblemError:
    """The error that a response tells of; what is between us and the endpoint may word its own."""
    try:
        said = response.json()
    except ValueError:
        said = None
    problem = said if isinstance(said, dict) else {"detail": response.text[:500]}
    request_id = problem.get("request_id") or response.headers.get("X-Request-Id", "")
    by_class = ServerError if response.status_code >= 500 else InvalidRequestError
    kind = _BY_STATUS.get(response.status_code, by_class)
    return kind(response.status_code, problem, str(request_id))
