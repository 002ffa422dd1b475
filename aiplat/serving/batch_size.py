"""How many of the rows that wait a pass of the model should take.

All of them is best where a pass costs about the same for any number of rows, as on a GPU. Where it
costs about as much again for each row, as for a convolutional network on a CPU, whoever came first
then waits for all that the others cost, and nobody is answered sooner for it.
"""

import math
from dataclasses import dataclass

# Of the model's time, the share that may be taken by what comes steadily. Above it, a moment in
# which more comes takes long to work off.
_BUSY = 0.8


@dataclass(frozen=True)
class PassCost:
    """What a pass takes: so many seconds, and so many more for each of its rows."""

    pass_s: float
    row_s: float

    @classmethod
    def measured(cls, lone_s: float, full_s: float, num_rows: int) -> "PassCost":
        """From the seconds of a pass of one row, and of one of `num_rows`."""
        row_s = max(0.0, full_s - lone_s) / max(1, num_rows - 1)
        return cls(max(0.0, lone_s - row_s), row_s)

    def batch_size(self, waiting: int, pause_s: float) -> int:
        """Rows to take now of those that wait, where another one comes every `pause_s` seconds.

        Taken n at a time, they are answered after (pass_s + n row_s) (waiting / n + 1) / 2 seconds
        on average, which is least at n = sqrt(waiting pass_s / row_s). But no fewer than it takes
        to keep up with those that come.
        """
        if self.row_s <= 0:
            return waiting
        soonest = round(math.sqrt(waiting * self.pass_s / self.row_s))
        spare_s = _BUSY * pause_s - self.row_s
        enough = math.ceil(min(self.pass_s / spare_s, waiting)) if spare_s > 0 else waiting
        return min(waiting, max(1, soonest, enough))
