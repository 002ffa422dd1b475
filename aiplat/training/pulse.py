"""Signs of life of one rank: how far it has come, for whoever watches from another thread."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


class Pulse:
    """Counts beats. Ranks in lock-step beat at the same places: fewer beats are further back.

    step: the last one that was completed.
    """

    def __init__(self) -> None:
        self.num_beats = 0
        self.step = 0

    def beat(self, step: int | None = None) -> None:
        """Show that the rank has come a little further; say which step it completed, if it did."""
        self.num_beats += 1
        if step is not None:
            self.step = step

    def beating(self, items: Iterable[T]) -> Iterator[T]:
        """The items, with a beat before and after each is fetched."""
        self.beat()
        for item in items:
            self.beat()
            yield item
            self.beat()
