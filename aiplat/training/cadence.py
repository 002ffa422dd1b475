"""When to save within an epoch: by steps and by the clock, with the same answer on every rank."""

import time

from aiplat.training.collective import broadcast_object
from aiplat.training.config import CheckpointConfig

_MAX_STEPS_BETWEEN_LOOKS = 1000


class Cadence:
    """Asked after every step. Ranks agree by rank 0's clock, looked at only now and then."""

    def __init__(self, config: CheckpointConfig) -> None:
        self.config = config
        self.num_steps = 0
        self.next_look = 1
        self.saved_at = time.monotonic()

    def due(self, step: int) -> bool:
        """Whether to save now. Every rank asks equally often."""
        self.num_steps += 1
        if self.config.every_steps and step % self.config.every_steps == 0:
            return True
        if self.num_steps < self.next_look:
            return False
        due, steps_ahead = broadcast_object(self._look())
        self.next_look = self.num_steps + steps_ahead
        return due

    def saved(self) -> None:
        """Count from here."""
        self.num_steps = 0
        self.next_look = 1
        self.saved_at = time.monotonic()

    def _look(self) -> tuple[bool, int]:
        """Whether it is time, and after how many steps to look again: half of those left."""
        elapsed = time.monotonic() - self.saved_at
        left = self.config.every_s - elapsed
        step_s = elapsed / self.num_steps
        steps_left = int(left / step_s / 2) if step_s else _MAX_STEPS_BETWEEN_LOOKS
        return left <= 0, min(max(1, steps_left), _MAX_STEPS_BETWEEN_LOOKS)
