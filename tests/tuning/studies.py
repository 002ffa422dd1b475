"""Studies in a file, whose trials are scored by a formula."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from optuna.storages import InMemoryStorage

from aiplat.tuning.config import Direction, TuningConfig
from aiplat.tuning.database import open_database
from aiplat.tuning.space import space_of
from aiplat.tuning.study import Draw, Ending, Study

SPACE: dict[str, Any] = {
    "optim.lr": {"loguniform": [1e-4, 1e-1]},
    "model.dropout": {"uniform": [0.0, 0.5]},
}


def open_study(
    folder: Path | None,
    space: Mapping[str, Any] = SPACE,
    directions: tuple[Direction, ...] = ("maximize",),
    seed: int = 7,
    **tuning: Any,
) -> Study:
    """The study of this folder, as a driver that starts has it; without one, one in memory."""
    chosen = TuningConfig(**{"num_trials": 6, "sampler": "random", "pruner": "none", **tuning})
    storage = open_database(f"sqlite:///{folder / 'study.db'}") if folder else InMemoryStorage()
    return Study(storage, "study", directions, space_of(space), chosen, seed)


def draw(study: Study) -> Draw:
    """The next trial, of which there is one."""
    drawn = study.draw()
    assert drawn is not None
    return drawn


def score(values: Mapping[str, Any]) -> float:
    """Best, and 1, at a dropout of 0.2."""
    return 1.0 - abs(values.get("model.dropout", 0.5) - 0.2)


def ended(*values: float, epochs: int = 9) -> Ending:
    return Ending(values, epochs, 1.5, {"accuracy": values[0]})


def go(study: Study, count: int | None = None) -> list[Draw]:
    """Run so many trials to their end, or all there are."""
    done: list[Draw] = []
    while (count is None or len(done) < count) and (drawn := study.draw()) is not None:
        study.complete(drawn.number, ended(score(drawn.values)))
        done.append(drawn)
    return done


def states(study: Study) -> list[str]:
    return [trial.state.name.lower() for trial in study.trials]
