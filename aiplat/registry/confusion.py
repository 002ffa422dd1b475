"""Which classes are taken for which: counts read as recalls, pairs and a picture."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

# More classes than this make no readable picture; the pairs still say the most.
MAX_PICTURED = 30
_MAX_COUNTED = 16
_MAX_LABEL_LENGTH = 28


@dataclass(frozen=True)
class Confusion:
    """Counts of an evaluated split: `counts[true, answered]`, both in the order of `labels`."""

    labels: tuple[str, ...]
    counts: np.ndarray

    def __post_init__(self) -> None:
        if self.counts.shape != (len(self.labels), len(self.labels)):
            raise ValueError(f"{self.counts.shape} counts for {len(self.labels)} labels")

    @classmethod
    def of(cls, labels: Sequence[str], counts: Any) -> "Confusion | None":
        """Of a square tensor, array or nested list; None where there is none for these labels."""
        if counts is None:
            return None
        square = np.asarray(counts)
        return cls(tuple(labels), square) if square.shape == (len(labels),) * 2 else None

    def recalls(self) -> dict[str, float]:
        """The share of each class's rows that got its label; classes without rows are left out."""
        rows = self.counts.sum(axis=1)
        return {
            label: float(self.counts[index, index] / rows[index])
            for index, label in enumerate(self.labels)
            if rows[index]
        }

    def weakest(self, limit: int) -> list[tuple[str, float]]:
        """The classes of lowest recall, lowest first; none that has no error."""
        imperfect = [(label, recall) for label, recall in self.recalls().items() if recall < 1]
        return sorted(imperfect, key=lambda pair: pair[1])[:limit]

    def pairs(self, limit: int) -> list[tuple[str, str, int]]:
        """The most frequent errors: (true label, answered label, rows)."""
        errors = self.counts * (1 - np.eye(len(self.labels), dtype=self.counts.dtype))
        order = np.argsort(-errors, axis=None, kind="stable")[:limit]
        places = [np.unravel_index(index, errors.shape) for index in order]
        return [
            (self.labels[int(true)], self.labels[int(answered)], int(errors[true, answered]))
            for true, answered in places
            if errors[true, answered] > 0
        ]


def draw_confusion(confusion: Confusion, title: str, path: Path) -> bool:
    """Write the picture as PNG; False, and no file, where there are too many classes for one."""
    if len(confusion.labels) > MAX_PICTURED:
        return False
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    counts = confusion.counts.astype(np.float64)
    rows = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, rows, out=np.zeros_like(counts), where=rows > 0)
    num_classes = len(confusion.labels)
    side = 2.4 + 0.42 * max(num_classes, 4)
    figure = Figure(figsize=(side + 1.2, side), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    names = _shortened(confusion.labels)
    axes.set_xticks(range(num_classes), names, rotation=90, parse_math=False)
    axes.set_yticks(range(num_classes), names, parse_math=False)
    axes.set(xlabel="answered", ylabel="true")
    axes.set_title(title, parse_math=False)
    if num_classes <= _MAX_COUNTED:
        for (true, answered), count in np.ndenumerate(confusion.counts):
            if count:
                color = "white" if shares[true, answered] > 0.6 else "black"
                axes.text(
                    answered, true, str(int(count)), ha="center", va="center", color=color, size=8
                )
    figure.colorbar(image, label="share of the true class", shrink=0.8)
    with warnings.catch_warnings():
        # Labels may be in a script that the picture's font lacks; it then shows boxes.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        FigureCanvasAgg(figure).print_png(str(path))
    return True


def _shortened(labels: Sequence[str]) -> list[str]:
    one_line = [" ".join(label.split()) for label in labels]
    limit = _MAX_LABEL_LENGTH
    return [name if len(name) <= limit else f"{name[: limit - 1]}…" for name in one_line]
