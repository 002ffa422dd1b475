"""What two versions answered to the same rows, held against each other."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from aiplat.serving.served import Answer
from aiplat.tasks.fields import OutputField

# Numbers that differ by less than this part of the larger one agree.
_TOLERANCE = 0.05
_MAX_ERROR_CHARS = 500


@dataclass
class Comparison:
    """One request that both versions of a release were asked with.

    answered_by: the version whose answer the user has. mirrored: the other one was asked to be
    compared; else the candidate was to answer and the champion did in its place. disagreeing: rows
    to which the answers are not the same. difference: the largest one of any number. champion_s,
    candidate_s: from asking to the answer. compute_s: the share of passes that nobody pays for.
    error: why the candidate has no answer, "" where it has one.
    """

    prediction_id: str
    release: str
    endpoint: str
    answered_by: str
    rows: int
    mirrored: bool = True
    disagreeing: int = 0
    difference: float = 0.0
    champion_s: float = 0.0
    candidate_s: float = 0.0
    compute_s: float = 0.0
    error: str = ""
    at: float = field(default_factory=time.time)

    def __post_init__(self) -> None:
        self.error = self.error[:_MAX_ERROR_CHARS]


def differences(
    outputs: Sequence[OutputField], champion: Sequence[Answer], candidate: Sequence[Answer]
) -> tuple[int, float]:
    """How many rows the answers disagree on, and the largest difference of any number.

    Answers disagree where a label or text is another one, or a number is by more than a twentieth.
    Probabilities disagree where the most probable is another one, and only where there is no label
    to say so. Vectors never do: those of two versions lie in different spaces.
    """
    has_label = any(output.kind == "label" for output in outputs)
    disagreeing, largest = 0, 0.0
    for ours, theirs in zip(champion, candidate, strict=True):
        differs = False
        for output in outputs:
            one, other = ours.get(output.name), theirs.get(output.name)
            if output.kind == "probabilities":
                largest = max(largest, _furthest(one, other))
                differs |= not has_label and _most(one) != _most(other)
            elif output.kind == "number":
                gap = _relative(one, other)
                largest, differs = max(largest, gap), differs or gap > _TOLERANCE
            elif output.kind != "vector":
                differs |= one != other
        disagreeing += differs
    return disagreeing, largest


def _furthest(one: Any, other: Any) -> float:
    """Of probabilities by label."""
    labels = {*one, *other}
    return max((abs(one.get(label, 0) - other.get(label, 0)) for label in labels), default=0.0)


def _most(probabilities: Any) -> Any:
    return max(probabilities, key=probabilities.get, default=None)


def _relative(one: Any, other: Any) -> float:
    largest = max(abs(one), abs(other))
    return float(abs(one - other) / largest) if largest else 0.0
