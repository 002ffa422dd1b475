"""Why a request was not let in, as the client and the metrics are told."""

from collections.abc import Mapping

from aiplat.serving.problems import ProblemError

# Reason -> status and what it means; the reason is a label of metrics and part of the problem type.
REASONS: Mapping[str, tuple[int, str]] = {
    "missing": (401, "The request has no API key"),
    "unknown": (401, "The API key is not known"),
    "revoked": (401, "The API key was revoked"),
    "expired": (401, "The API key has expired"),
    "address": (403, "The API key may not be used from this address"),
    "scope": (403, "The API key may not ask this model"),
    "rate": (429, "The API key asks too often"),
    "quota": (429, "The API key has used its quota"),
    "unchecked": (503, "API keys cannot be checked now"),
}


class RefusalError(ProblemError):
    """A request that is not let in. retry_after_s: when the same request may pass."""

    def __init__(self, reason: str, detail: str, retry_after_s: int | None = None) -> None:
        self.reason = reason
        status, title = REASONS[reason]
        headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
        if status == 401:
            error = "" if reason == "missing" else ', error="invalid_token"'
            headers["WWW-Authenticate"] = f'Bearer realm="aiplat"{error}'
        super().__init__(status, detail, headers=headers)
        self.kind = (f"key-{reason}", title)
