"""What a user chooses about a search: plain settings that import neither Optuna nor Ray."""

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from aiplat.errors import ConfigError

Objective = Literal["metric", "num_parameters", "latency_ms"]
Direction = Literal["minimize", "maximize"]

# Before this part of its epochs a trial shows little of what becomes of it.
_PART = 5
_SEVERAL = ("tpe", "nsga2", "random", "grid")


@dataclass
class TuningConfig:
    """A search for better settings of the experiment, by `aiplat.jobs.tune`; training ignores it.

    study: its name; starting a study of the same name again continues it. null: that of the run.
    space: what is searched: by dotted path, `uniform: [low, high]`, `loguniform: [low, high]`,
        `quniform: [low, high, step]`, `int: [low, high]` or `[low, high, step]`,
        `logint: [low, high]` or `choice: [...]`, and `when: {other.path: value}` where it depends
        on another. A group is searched by its options' names: `optim: {choice: [adamw, sgd]}`.
    num_trials: how many the study has at its end, those of earlier commands among them.
    max_seconds: no trial starts later than this after the command did; null: no limit.
    max_concurrent: trials side by side; `auto`: as many as the cluster has room for.
    sampler: what suggests the next trial. `grid` tries every combination of choices. `pbt` trains a
        population in generations of `loop.max_epochs` each: those that do badly go on from the
        weights of better ones, with settings near theirs.
    population: the members of `pbt`; `num_trials` over it are the generations.
    pruner: what ends trials early that do worse than others did at the same epoch.
    min_epochs: no trial is ended before; null: a fifth of `loop.max_epochs`.
    reduction_factor: `asha` and `hyperband` let one in so many trials go on.
    objectives: what is searched for, `metric` (the task's own), `num_parameters`, `latency_ms` (of
        one row, at the 50th percentile); of several, all that no other trial beats are reported.
    engine: what computes the model while `latency_ms` is measured, as in `inference.engine`: torch
        as it is (`eager`), `openvino`, `onnxruntime`, ...
    storage: database of the study: `sqlite:///`, `postgresql://`, `mysql://`, or `journal:///`, a
        file that several machines may share. null: SQLite in the study's folder.
    enqueue: settings to try first, each a mapping of dotted paths to values.
    warm_start: an earlier study of this experiment whose best trials are tried first.
    warm_start_trials: how many of them.
    patience: trials in a row without a better one after which no other starts; null: no limit.
    max_lost: how often a trial goes on from its checkpoint after its process was lost.
    keep: trials that keep their checkpoints at the end, the best ones; null: all.
    """

    study: str | None = None
    space: dict[str, Any] = field(default_factory=dict)
    num_trials: int = 20
    max_seconds: float | None = None
    max_concurrent: int | Literal["auto"] = "auto"
    sampler: Literal["tpe", "gp", "cmaes", "random", "grid", "nsga2", "pbt"] = "tpe"
    population: int = 4
    pruner: Literal["asha", "median", "hyperband", "none"] = "asha"
    min_epochs: int | None = None
    reduction_factor: int = 3
    objectives: list[Objective] = field(default_factory=lambda: ["metric"])
    engine: str = "eager"
    storage: str | None = None
    enqueue: list[dict[str, Any]] = field(default_factory=list)
    warm_start: str | None = None
    warm_start_trials: int = 3
    patience: int | None = None
    max_lost: int = 1
    keep: int | None = 3

    def __post_init__(self) -> None:
        for name, least in (
            ("num_trials", 1),
            ("population", 2),
            ("min_epochs", 1),
            ("reduction_factor", 2),
            ("warm_start_trials", 1),
            ("max_lost", 0),
            ("patience", 1),
        ):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"{name} is {value}, expected at least {least}")
        if self.max_concurrent != "auto" and self.max_concurrent < 1:
            raise ConfigError(
                f"max_concurrent is {self.max_concurrent}, expected auto or 1 or more"
            )
        if self.max_seconds is not None and self.max_seconds <= 0:
            raise ConfigError(f"max_seconds is {self.max_seconds}, expected more than 0")
        if self.keep is not None and self.keep < 1:
            raise ConfigError(f"keep is {self.keep}, expected null or at least 1: the best one")
        if len(set(self.objectives)) != len(self.objectives) or self.objectives[:1] != ["metric"]:
            raise ConfigError(
                f"objectives is {self.objectives}, expected 'metric' first, and each at most once"
            )
        if self.is_multi_objective:
            self._check_several()

    def for_epochs(self, max_epochs: int) -> "TuningConfig":
        """With `min_epochs` filled in. max_epochs: of a trial that is not ended early."""
        return replace(self, min_epochs=self.min_epochs or max(1, max_epochs // _PART))

    @property
    def concurrent(self) -> int | None:
        """Trials side by side; None: as many as there is room for."""
        return None if self.max_concurrent == "auto" else self.max_concurrent

    @property
    def is_multi_objective(self) -> bool:
        """Whether there is a front of best trials in place of a best one."""
        return len(self.objectives) > 1

    def _check_several(self) -> None:
        if self.sampler not in _SEVERAL:
            raise ConfigError(
                f"sampler is {self.sampler!r}, which has one objective; with several expected one "
                f"of: {', '.join(_SEVERAL)}"
            )
        if self.patience is not None:
            raise ConfigError("patience judges one objective: set it to null, or search for one")
