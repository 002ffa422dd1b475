"""What a model takes and answers, field by field: no torch, for those who only speak HTTP."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class InputField:
    """One field of a request row. kind: `image`, `text`, `number` or `category`."""

    name: str
    kind: str
    required: bool = True
    choices: tuple[str, ...] = ()
    example: Any = None
    description: str = ""


@dataclass(frozen=True)
class OutputField:
    """One field of an answer. kind: `label`, `probabilities`, `number`, `vector` or `text`."""

    name: str
    kind: str
    description: str = ""
