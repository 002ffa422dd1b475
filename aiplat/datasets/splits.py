"""Which split a row belongs to: what its source says, else a cut of train by content hash."""

import hashlib
from collections.abc import Sequence

from aiplat.datasets.config import SplitConfig


def assign(given: Sequence[str | None], groups: Sequence[bytes], config: SplitConfig) -> list[str]:
    """The split of each row; rows of one group (one image) that are cut go the same way.

    Splits that some row names are kept as they are. Those that none names are cut out of the rest,
    so a source with train and test gets its val from train, and one without splits gets all three.
    """
    named = set(given)
    val = 0.0 if "val" in named else config.val
    test = 0.0 if "test" in named else config.test
    seed = str(config.seed).encode()
    return [
        split if split in ("val", "test") else _cut(_position(seed, group), val, test)
        for split, group in zip(given, groups, strict=True)
    ]


def _position(seed: bytes, group: bytes) -> float:
    """A number in [0, 1) that depends on nothing but the content and the seed."""
    digest = hashlib.sha256(seed + b":" + group).digest()
    return int.from_bytes(digest[:6], "big") / (1 << 48)


def _cut(position: float, val: float, test: float) -> str:
    if position < test:
        return "test"
    return "val" if position < test + val else "train"
