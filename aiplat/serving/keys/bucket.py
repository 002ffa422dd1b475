"""A token bucket: how many requests a second pass, and how many at once after a pause."""

import math

# Of a token: what adding up fractions of seconds loses.
_ROUNDING = 1e-9


class TokenBucket:
    """Fills with tokens while time passes; each request takes one. It begins full."""

    def __init__(self) -> None:
        self._tokens = math.inf
        self._filled_at = 0.0

    def take(self, rate: float, burst: float, now: float) -> float:
        """Seconds until there is a token; 0 where one was taken.

        rate: tokens that come in a second. burst: tokens it holds, at least one. now: seconds of
        any clock; where that goes back, no token comes.
        """
        room = max(burst, 1.0)
        self._tokens = min(room, self._tokens + max(0.0, now - self._filled_at) * rate)
        self._filled_at = now
        if self._tokens < 1 - _ROUNDING:
            return (1 - self._tokens) / rate
        self._tokens = max(0.0, self._tokens - 1)
        return 0.0
