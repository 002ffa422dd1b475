"""How a run ended: a file in its folder, whose presence means that it did."""

from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor

from aiplat.errors import AiplatError
from aiplat.store import files
from aiplat.training.checkpoint import Checkpoints
from aiplat.training.snapshot import exported_weights

_FINISHED = "finished.json"


@dataclass(frozen=True)
class FitResult:
    """What came of a run.

    metrics: of the validation split at the best step. test_metrics: of the best weights on the test
    split, empty where there is none. tensors: what else the task measured (a confusion matrix, say)
    as nested lists, of the split `tensors_of`. stopped_because: `max_epochs`, `max_steps` or
    `early_stop`. seconds: of this attempt. already_finished: nothing was done now.
    """

    best_step: int
    epochs: int
    steps: int
    rows_seen: int
    attempts: int
    stopped_because: str
    seconds: float
    metrics: dict[str, float] = field(default_factory=dict)
    test_metrics: dict[str, float] = field(default_factory=dict)
    tensors: dict[str, Any] = field(default_factory=dict)
    tensors_of: str | None = None
    already_finished: bool = False


def read_result(run_dir: str) -> FitResult | None:
    """How the run ended; None where it has not."""
    uri = files.join(run_dir, _FINISHED)
    if not files.exists(uri):
        return None
    return FitResult(**{**files.read_json(uri), "already_finished": True})


def write_result(run_dir: str, result: FitResult) -> None:
    """Mark the run as finished."""
    files.write_json(files.join(run_dir, _FINISHED), asdict(result))


def best_weights(run_dir: str) -> dict[str, Tensor]:
    """The weights a finished run hands over: the best ones, averaged where the run averaged."""
    result = read_result(run_dir)
    if result is None:
        raise AiplatError(f"the run in {run_dir} is not finished: it has no best weights yet")
    return weights_at(run_dir, result.best_step)


def weights_at(run_dir: str, step: int) -> dict[str, Tensor]:
    """The weights to evaluate and hand over of a checkpoint that is kept."""
    return exported_weights(Checkpoints(run_dir).load(step))
