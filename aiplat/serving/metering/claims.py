"""Which answers of a replica nobody took: it learns of that afterwards, and never of the others."""

import time
from collections.abc import Callable, Iterable

# Long enough for an answer and for the word that nobody wants it, whichever comes first.
_KEPT_S = 300.0


class Claims:
    """Holds what a replica has answered against the requests that endpoints gave up.

    unclaimed: told the seconds of an answer whose request was given up. Either may come first;
    each is kept for a few minutes.
    """

    def __init__(
        self, unclaimed: Callable[[float], None], now: Callable[[], float] = time.monotonic
    ) -> None:
        self._unclaimed, self._now = unclaimed, now
        # By request, the oldest first: when, and the seconds of what was answered.
        self._answered: dict[str, tuple[float, float]] = {}
        self._left: dict[str, tuple[float, float]] = {}

    def answered(self, request: str, seconds: float) -> None:
        """A request has an answer, for which passes ran so long."""
        if request in self._left:
            self._unclaimed(seconds)
        else:
            self._keep(self._answered, request, seconds)

    def left(self, requests: Iterable[str]) -> None:
        """Endpoints gave these up; who answers them is not known to them."""
        for request in requests:
            if request in self._answered:
                self._unclaimed(self._answered.pop(request)[1])
            else:
                self._keep(self._left, request)

    def _keep(self, kept: dict[str, tuple[float, float]], request: str, seconds: float = 0) -> None:
        now = self._now()
        while kept and next(iter(kept.values()))[0] < now - _KEPT_S:
            del kept[next(iter(kept))]
        kept[request] = (now, seconds)
