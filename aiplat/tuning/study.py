"""A study: the trials of a search and how they ended, in a database that outlives its driver.

The database is the only truth about them. Whoever opens the study takes up what was under way when
the one before ended: each trial is a run of its own that goes on from its checkpoint.
"""

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import optuna
from optuna.pruners import NopPruner
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from aiplat.tuning.config import Direction, TuningConfig
from aiplat.tuning.methods import make_pruner, make_sampler
from aiplat.tuning.notes import (
    CAUSE,
    EPOCHS,
    FAILURE,
    GENERATION,
    METRICS,
    ORIGIN,
    PARENT,
    PREDECESSOR,
    SECONDS,
    VALUES,
)
from aiplat.tuning.population import successor
from aiplat.tuning.space import Space, encoded

_ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


@dataclass(frozen=True)
class Draw:
    """A trial to be run.

    values: its settings, by path. is_resumed: it was begun before. parent: the trial whose weights
    it begins with.
    """

    number: int
    values: Mapping[str, Any]
    is_resumed: bool = False
    parent: int | None = None


@dataclass(frozen=True)
class Ending:
    """How a completed trial ended.

    values: of the objectives, in their order. metrics: of the validation split at the best step.
    """

    values: Sequence[float]
    epochs: int
    seconds: float
    metrics: Mapping[str, float]


class Study:
    """Hands out trials and takes in how they go; for one thread of one process at a time."""

    def __init__(
        self,
        storage: BaseStorage,
        name: str,
        directions: Sequence[Direction],
        space: Space,
        config: TuningConfig,
        seed: int,
    ) -> None:
        self.storage, self.space, self.config, self.seed = storage, space, config, seed
        self.optuna = optuna.create_study(
            storage=storage,
            study_name=name,
            directions=list(directions),
            pruner=make_pruner(config),
            load_if_exists=True,
        )
        self.opened_at = time.monotonic()
        self.unfinished = [trial.number for trial in self._in(TrialState.RUNNING)]
        self.running: set[int] = set()
        self.last_report: dict[int, tuple[int, float]] = {}
        self.ids: dict[int, int] = {}
        self.stopped_because: str | None = None

    @property
    def trials(self) -> list[FrozenTrial]:
        """Those that were begun, in their order."""
        return [trial for trial in self._in() if trial.state != TrialState.WAITING]

    @property
    def is_over(self) -> bool:
        """Whether every trial of the study has ended, and no other is to come."""
        return not self.unfinished and not self.running and self.stopped_because is not None

    @property
    def has_more(self) -> bool:
        """Whether there is a trial to run, now that none is running."""
        return bool(self.unfinished) or self.reason_to_end() is None

    def suggest_first(self, points: Iterable[Mapping[str, Any]], origin: str) -> None:
        """Have these settings tried before what the sampler suggests; each of them once."""
        for point in points:
            params = {path: encoded(value) for path, value in point.items()}
            self.optuna.enqueue_trial(params, {ORIGIN: origin}, skip_if_exists=True)

    def draw(self) -> Draw | None:
        """The next trial to run; None where there is none to start now."""
        if self.unfinished:
            number = self.unfinished.pop(0)
            self.running.add(number)
            return Draw(number, self._values(number), True, self._parent(number))
        self.stopped_because = self.stopped_because or self.reason_to_end()
        if self.stopped_because is not None:
            return None
        seed = self._seed_of(len(self.trials))
        if self.config.sampler == "pbt" and not self._succeed(seed):
            return None
        self.optuna.sampler = make_sampler(self.config, seed)
        trial = self.optuna.ask()
        self.running.add(trial.number)
        return Draw(trial.number, self._suggested(trial), parent=self._parent(trial.number))

    def report(self, number: int, epoch: int, score: float, seconds: float = 0.0) -> bool:
        """Note the score of an epoch; the answer is whether to end the trial now."""
        trial_id = self._id(number)
        self.storage.set_trial_intermediate_value(trial_id, epoch, score)
        self.last_report[number] = (epoch, seconds)
        if isinstance(self.optuna.pruner, NopPruner):
            return False
        return bool(self.optuna.pruner.prune(self.optuna, self.storage.get_trial(trial_id)))

    def complete(self, number: int, ending: Ending) -> bool:
        """The trial ran to its end; false where its values are none that one can compare."""
        if not all(map(math.isfinite, ending.values)):
            values = ", ".join(map(str, ending.values))
            self.fail(number, "nan", f"nan: the objectives of the trained model are {values}")
            return False
        self._note(number, METRICS, dict(ending.metrics))
        self._note(number, EPOCHS, ending.epochs)
        self._note(number, SECONDS, ending.seconds)
        self._end_trial(number, values=list(ending.values))
        return True

    def prune(self, number: int) -> None:
        """The trial was ended early, as `report` said."""
        self._note_last_report(number)
        self._end_trial(number, state=TrialState.PRUNED)

    def fail(self, number: int, cause: str, text: str) -> None:
        """The trial has no result. cause: the class of failure; text: what happened, in a line."""
        self._note_last_report(number)
        self._note(number, CAUSE, cause)
        self._note(number, FAILURE, text)
        self._end_trial(number, state=TrialState.FAIL)

    def give_back(self, number: int) -> None:
        """The trial's process was lost: `draw` will hand it out again."""
        self.running.discard(number)
        self.unfinished.append(number)

    def best(self) -> list[FrozenTrial]:
        """The best trial, or the front of those that no other beats; empty while there is none."""
        ranked = self.ranked()
        return self.optuna.best_trials if ranked and self.config.is_multi_objective else ranked[:1]

    def ranked(self) -> list[FrozenTrial]:
        """The completed trials, the best first; of several objectives by the first of them."""
        sign = -1 if self.optuna.directions[0].name == "MAXIMIZE" else 1
        return sorted(self._in(TrialState.COMPLETE), key=lambda trial: sign * trial.values[0])

    def reason_to_end(self) -> str | None:
        """Why no further trial is to begin; None where one is."""
        begun = self.trials
        if len(begun) >= self.config.num_trials:
            return "num_trials"
        seconds = self.config.max_seconds
        if seconds is not None and time.monotonic() - self.opened_at >= seconds:
            return "max_seconds"
        if self.config.sampler == "grid" and not self._in(TrialState.WAITING):
            return "grid"
        return "patience" if self._is_exhausted() else None

    def _succeed(self, seed: int) -> bool:
        """Have the next member of the population wait; false while none can go on."""
        trials = self.trials
        if self._in(TrialState.WAITING) or len(trials) < self.config.population:
            return True
        is_max = self.optuna.directions[0].name == "MAXIMIZE"
        last = -(-self.config.num_trials // self.config.population) - 1
        following = successor(trials, self.space, is_max, last, seed)
        if following is None:
            if not self.running:
                self.stopped_because = "population"
            return False
        notes = {
            GENERATION: following.generation,
            PREDECESSOR: following.predecessor,
            PARENT: following.parent,
        }
        params = {path: encoded(value) for path, value in following.values.items()}
        self.optuna.enqueue_trial(params, notes)
        return True

    def _parent(self, number: int) -> int | None:
        parent = self.storage.get_trial(self._id(number)).user_attrs.get(PARENT)
        return None if parent is None else int(parent)

    def _suggested(self, trial: optuna.Trial) -> dict[str, Any]:
        values = self.space.suggest(trial)
        trial.set_user_attr(VALUES, values)
        return values

    def _values(self, number: int) -> dict[str, Any]:
        """The settings of a trial begun before; drawn to the end where its driver could not."""
        trial_id = self._id(number)
        values = self.storage.get_trial(trial_id).user_attrs.get(VALUES)
        return (
            values if values is not None else self._suggested(optuna.Trial(self.optuna, trial_id))
        )

    def _is_exhausted(self) -> bool:
        """Whether the last so many trials that ended were none of them better than those before."""
        patience = self.config.patience
        ranked = self.ranked()
        if patience is None or not ranked:
            return False
        later = [trial for trial in self._in(*_ENDED) if trial.number > ranked[0].number]
        return len(later) >= patience

    def _end_trial(self, number: int, **how: Any) -> None:
        self.running.discard(number)
        self.optuna.tell(number, **how)

    def _note_last_report(self, number: int) -> None:
        """How far a trial came that has no ending of its own."""
        if number in self.last_report:
            epoch, seconds = self.last_report[number]
            self._note(number, EPOCHS, epoch)
            self._note(number, SECONDS, seconds)

    def _note(self, number: int, name: str, value: Any) -> None:
        self.storage.set_trial_user_attr(self._id(number), name, value)

    def _id(self, number: int) -> int:
        if number not in self.ids:
            study_id = self.storage.get_study_id_from_name(self.optuna.study_name)
            found = self.storage.get_trial_id_from_study_id_trial_number(study_id, number)
            self.ids[number] = found
        return self.ids[number]

    def _in(self, *states: TrialState) -> list[FrozenTrial]:
        return self.optuna.get_trials(deepcopy=False, states=states or None)

    def _seed_of(self, number: int) -> int:
        # A sampler's own random numbers would begin anew with each driver, and repeat themselves.
        # A study that begins with the best of another must not draw what that one drew.
        return crc32(f"{self.optuna.study_name} {self.seed} {number}".encode())
