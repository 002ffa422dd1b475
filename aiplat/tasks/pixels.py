"""Pixels of image files that were decoded before, found again by what the files hold."""

from hashlib import blake2b
from typing import Any

from torch import Tensor


class KnownPixels:
    """Keeps decoded images until it is full, and what it has from then on.

    An epoch comes to every image once, in an order that is no hint: to throw out an old one for a
    new one would gain nothing. The same file in several rows, or under several names, is one.
    max_bytes: 0 keeps nothing. Several threads may use it at once.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.num_bytes = 0
        self.by_content: dict[bytes, Tensor] = {}

    def copy(self, file: Any, target: Tensor) -> bool:
        """Copy the pixels of a file into `target`, and whether they are known."""
        if not self.by_content or not isinstance(file, bytes):
            return False
        pixels = self.by_content.get(_content(file))
        if pixels is None:
            return False
        target.copy_(pixels)
        return True

    def keep(self, file: bytes, pixels: Tensor) -> None:
        """Keep a copy of the pixels of a file, as long as there is room."""
        if self.num_bytes + pixels.nbytes <= self.max_bytes:
            self.num_bytes += pixels.nbytes
            self.by_content[_content(file)] = pixels.clone()


def _content(file: bytes) -> bytes:
    return blake2b(file, digest_size=16).digest()
