"""When to save within an epoch: by steps, by the clock and on request, alike on every rank."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from aiplat.training.collective import broadcast_object, gather_objects
from aiplat.training.config import CheckpointConfig

# Where saving is cheap it is done oftener than it must be: this part of the time may go into it.
_CHEAP = 0.01
# But not oftener than this part of what may be lost: each save leaves files behind.
_LEAST = 0.1
_MUCH = 0.02
# How late a request to save at once may be noticed, and how seldom ranks may talk of it.
_LOOK_EVERY_S = 2.0
_LOOK_AGAIN_S = 0.5
_MAX_STEPS_BETWEEN_LOOKS = 1000


@dataclass(frozen=True)
class SaveCost:
    """What a save took. held_up_s: of the training. complete_s: from its begin until it counted."""

    held_up_s: float
    complete_s: float


class Cadence:
    """Asked after every step.

    The ranks agree by rank 0's clock, and on what any of them was asked for, now and then only.
    requested: whether this rank was asked to save at once, since it was called last.
    """

    def __init__(self, config: CheckpointConfig, requested: Callable[[], bool]) -> None:
        self.config = config
        self.requested = requested
        self.cost: SaveCost | None = None
        self.num_steps, self.next_look = 0, 1
        self.at_once, self.by_clock = False, False
        self.is_explained = False
        self.saved()

    def due(self, step: int, is_busy: bool) -> bool:
        """Whether to save now; `at_once` then says if on request. Every rank asks equally often.

        is_busy: a save is under way on rank 0; the clock's next one waits for it to end.
        """
        self.num_steps += 1
        if self.config.every_steps and step % self.config.every_steps == 0:
            return True
        if self.num_steps < self.next_look:
            return False
        looks = gather_objects((self.requested(), *self._look(is_busy)))
        self.at_once = any(requested for requested, _, _ in looks)
        _, by_clock, steps_ahead = looks[0]
        self.by_clock = self.by_clock or by_clock
        self.next_look = self.num_steps + steps_ahead
        return by_clock or self.at_once

    def epoch_due(self) -> bool:
        """Whether to save an epoch that is not the last one; every rank asks."""
        if not self.config.min_epoch_s:
            return True
        elapsed_s = time.monotonic() - self.saved_at
        return bool(broadcast_object(elapsed_s >= self.config.min_epoch_s))

    def saved(self) -> None:
        """Count from here."""
        self.num_steps = 0
        self.next_look = 1
        self.at_once = False
        self.saved_at = time.monotonic()

    def measured(self, cost: SaveCost) -> str | None:
        """Go by what a save took; the answer says what comes of it, the first time it matters."""
        self.cost = cost
        if self.is_explained or not self.by_clock:
            return None
        self.is_explained = True
        return self._explanation(cost)

    @property
    def interval_s(self) -> float:
        """Seconds from one save to the next."""
        budget_s = self.config.max_lost_s
        if self.cost is None:
            return budget_s * _LEAST
        complete_s = self.cost.complete_s
        wanted_s = min(complete_s / _CHEAP, budget_s - complete_s)
        return max(wanted_s, budget_s * _LEAST, complete_s)

    def _look(self, is_busy: bool) -> tuple[bool, int]:
        """Whether it is time, and after how many steps to look again."""
        elapsed_s = time.monotonic() - self.saved_at
        left_s = self.interval_s - elapsed_s
        ahead_s = min(left_s / 2, _LOOK_EVERY_S) if left_s > 0 else _LOOK_AGAIN_S
        step_s = elapsed_s / self.num_steps
        steps_ahead = int(ahead_s / step_s) if step_s else _MAX_STEPS_BETWEEN_LOOKS
        due = left_s <= 0 and not is_busy
        return due, min(max(1, steps_ahead), _MAX_STEPS_BETWEEN_LOOKS)

    def _explanation(self, cost: SaveCost) -> str:
        interval_s, budget_s = self.interval_s, self.config.max_lost_s
        lost_s, share = interval_s + cost.complete_s, cost.held_up_s / interval_s
        text = (
            f"saving every {interval_s:.3g} s: a save holds up training for "
            f"{cost.held_up_s * 1000:.0f} ms and counts after {cost.complete_s:.2g} s, so a crash "
            f"costs {lost_s:.3g} s at most"
        )
        if lost_s > budget_s:
            text += f", more than checkpoint.max_lost_s={budget_s:g}: the storage is slow"
        if share > _MUCH:
            text += (
                f"; that is {share:.0%} of the time, and a larger checkpoint.max_lost_s than "
                f"{budget_s:g} makes it less"
            )
        return text
