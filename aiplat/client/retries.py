"""When a request is worth sending again, and how long to wait before: no HTTP is done here."""

import random
import re
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from aiplat.client.errors import ConnectionFailedError, refusal

_BUSY = (429, 503)
# The endpoint did not take the request, or was lost with it; not those that took too long, where
# sending again would only add to what it has to do.
_LOST = (httpx.NetworkError, httpx.RemoteProtocolError, httpx.ConnectTimeout)


@dataclass(frozen=True)
class Send:
    """To be sent next. timeout_s: for each of connecting, sending and waiting for bytes."""

    request: httpx.Request
    timeout_s: float


@dataclass(frozen=True)
class Wait:
    """To be waited for before the next."""

    seconds: float


# What a call wants done; it is sent the outcome of each Send, a response or why there is none.
Exchange = Generator[Send | Wait, Any, httpx.Response]


@dataclass(frozen=True)
class Retries:
    """How long to go on where the endpoint is busy or gone.

    Waits are drawn from 0 to `first_s`, doubled with each try up to `longest_s` (full jitter), and
    begin after the time that the endpoint asked for. total_s: of a call, all its tries and waits;
    0 tries once. An answer is the same however often it is asked for, so asking again is safe.
    """

    first_s: float = 0.25
    longest_s: float = 8.0
    total_s: float = 60.0
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], float] = time.time
    draw: Callable[[float, float], float] = random.uniform

    def exchange(self, request: httpx.Request, timeout_s: float) -> Exchange:
        """Send a request until it is answered. Raises ProblemError and ConnectionFailedError."""
        begin = self.clock()
        tries = 0
        while True:
            left_s = self.total_s - (self.clock() - begin)
            outcome = yield Send(request, min(timeout_s, max(left_s, 0.1)) if tries else timeout_s)
            tries += 1
            if isinstance(outcome, httpx.Response) and outcome.is_success:
                return outcome
            wait_s = self._wait_s(outcome, tries)
            if wait_s is None or self.clock() - begin + wait_s >= self.total_s:
                raise _failure(request, outcome, tries)
            yield Wait(wait_s)

    def _wait_s(self, outcome: httpx.Response | httpx.TransportError, tries: int) -> float | None:
        """How long to wait before another try; None where another would end like this one."""
        jitter_s = self.draw(0, min(self.longest_s, self.first_s * 2 ** min(tries - 1, 30)))
        if isinstance(outcome, httpx.Response):
            return self._asked_s(outcome) + jitter_s if outcome.status_code in _BUSY else None
        return jitter_s if isinstance(outcome, _LOST) else None

    def _asked_s(self, response: httpx.Response) -> float:
        """Seconds that Retry-After asks for; it is a number, or a date."""
        asked = response.headers.get("Retry-After", "").strip()
        if re.fullmatch(r"[0-9]{1,9}", asked):
            return float(asked)
        until = _seconds(asked)
        if until is None:
            return 0.0
        # Both by the endpoint's clock, where it tells its time: ours may differ.
        told = _seconds(response.headers.get("Date", ""))
        return max(0.0, until - (self.now() if told is None else told))


def _seconds(date: str) -> float | None:
    """Seconds since 1970 of an HTTP date."""
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        return None


def _failure(
    request: httpx.Request, outcome: httpx.Response | httpx.TransportError, tries: int
) -> Exception:
    if isinstance(outcome, httpx.Response):
        return refusal(outcome)
    said = str(outcome) or type(outcome).__name__
    error = ConnectionFailedError(f"{request.url} gave no answer in {tries} tries: {said}")
    error.__cause__ = outcome
    return error
