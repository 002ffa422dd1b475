"""A search space: which settings of a configuration vary, over what, and under which condition."""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import Trial

from aiplat.config.problems import nearest
from aiplat.errors import ConfigError

WHEN = "when"
_NUMBERS: Mapping[str, tuple[int, ...]] = {
    "uniform": (2,),
    "loguniform": (2,),
    "quniform": (3,),
    "int": (2, 3),
    "logint": (2,),
}
KINDS = (*_NUMBERS, "choice")
_WHOLE = ("int", "logint")
_ROUNDING = 1e-9
# How lists, mappings and texts begin in JSON.
_JSON = ("[", "{", '"')
# What belongs to the study as a whole, or names the trial.
_FIXED = (
    "name",
    "storage",
    "cluster",
    "scale",
    "tracking",
    "register",
    "tuning",
    "dataset.name",
    "dataset.version",
)


@dataclass(frozen=True)
class Parameter:
    """One setting that varies.

    path: where it stands in the configuration. when: for each setting that it depends on, the
    values with which it matters.
    """

    path: str
    distribution: BaseDistribution
    when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    def applies(self, values: Mapping[str, Any]) -> bool:
        """Whether it matters beside these values."""
        return all(values.get(path) in allowed for path, allowed in self.when.items())

    def suggest(self, trial: Trial) -> Any:
        """A value for the trial, by the study's sampler."""
        spread = self.distribution
        if isinstance(spread, FloatDistribution):
            return trial.suggest_float(
                self.path, spread.low, spread.high, step=spread.step, log=spread.log
            )
        if isinstance(spread, IntDistribution):
            return trial.suggest_int(
                self.path, spread.low, spread.high, step=spread.step, log=spread.log
            )
        return decoded(trial.suggest_categorical(self.path, _choices(spread)))

    def examples(self) -> list[Any]:
        """The values at its ends, or all of its choices."""
        spread = self.distribution
        if isinstance(spread, FloatDistribution | IntDistribution):
            return [spread.low, spread.high]
        return [decoded(choice) for choice in _choices(spread)]

    def holds(self, value: Any) -> bool:
        """Whether the value is one of those it varies over."""
        try:
            return self.distribution._contains(self.distribution.to_internal_repr(encoded(value)))
        except ValueError:
            return False


@dataclass(frozen=True)
class Space:
    """Settings that vary, each after those it depends on."""

    parameters: tuple[Parameter, ...]

    def suggest(self, trial: Trial) -> dict[str, Any]:
        """A value for every setting that matters, by path."""
        values: dict[str, Any] = {}
        for parameter in self.parameters:
            if parameter.applies(values):
                values[parameter.path] = parameter.suggest(trial)
        return values

    def grid(self) -> list[dict[str, Any]]:
        """Every combination of the choices. Raises ConfigError where a range is continuous."""
        points: list[dict[str, Any]] = [{}]
        for parameter in self.parameters:
            values = _all_values(parameter)
            points = [
                {**point, **added}
                for point in points
                for added in (
                    [{parameter.path: value} for value in values]
                    if parameter.applies(point)
                    else [{}]
                )
            ]
        return points

    def samples(self) -> Iterator[dict[str, Any]]:
        """Points that together hold every example of every setting, with what it depends on."""
        for parameter in self.parameters:
            base = self._where_it_matters(parameter)
            for value in parameter.examples():
                yield {**base, parameter.path: value}

    def checked(self, point: Mapping[str, Any], name: str) -> dict[str, Any]:
        """The part of a point that matters. Raises ConfigError, naming `name`, for what is not in
        the space; settings that are not in it keep what the experiment says.
        """
        known = {parameter.path: parameter for parameter in self.parameters}
        for path, value in point.items():
            if path not in known:
                alike = nearest(path, known)
                hint = f"; did you mean {alike!r}?" if alike else ""
                raise ConfigError(f"{name}: {path!r} is not in tuning.space{hint}")
            if not known[path].holds(value):
                spread = known[path].distribution
                raise ConfigError(f"{name}: {path}={value!r} is outside of tuning.space: {spread}")
        return dict(point)

    def _where_it_matters(self, parameter: Parameter) -> dict[str, Any]:
        known = {each.path: each for each in self.parameters}
        point: dict[str, Any] = {}
        for path, allowed in parameter.when.items():
            point |= {**self._where_it_matters(known[path]), path: allowed[0]}
        return point


def space_of(tree: Mapping[str, Any]) -> Space:
    """The space that `tuning.space` describes; nested keys and dotted ones mean the same.

    Raises ConfigError that names every parameter that is wrong.
    """
    described = dict(_described(tree))
    parameters, faults = {}, []
    for path, description in described.items():
        if description is None:
            continue
        try:
            parameters[path] = _parameter(path, description)
        except ConfigError as error:
            faults.append(f"  tuning.space.{path}: {error}")
    faults += _faults_of_conditions(parameters)
    if faults:
        raise ConfigError("\n".join(["the search space is not one:", *sorted(faults)]))
    return Space(tuple(_ordered(parameters)))


def checked_space(tree: Mapping[str, Any], compose: Callable[[Mapping[str, Any]], Any]) -> Space:
    """As `space_of`, each setting having been composed at its ends; an empty space is refused.

    compose: makes a configuration of settings, or raises ConfigError.
    """
    space = space_of(tree)
    if not space.parameters:
        raise ConfigError(
            "tuning.space is empty: say what to search, such as "
            "'tuning.space={optim.lr: {loguniform: [1e-4, 1e-2]}}'"
        )
    for point in space.samples():
        try:
            compose(point)
        except ConfigError as error:
            settings = ", ".join(f"{path}={value}" for path, value in point.items())
            raise ConfigError(f"tuning.space: {settings} is no configuration:\n{error}") from error
    return space


def encoded(value: Any) -> Any:
    """As Optuna keeps a choice: lists and mappings as JSON, and texts that look like it, too."""
    looks_like_it = isinstance(value, str) and value[:1] in _JSON
    return json.dumps(value) if looks_like_it or isinstance(value, list | tuple | dict) else value


def decoded(value: Any) -> Any:
    """What `encoded` was given."""
    return json.loads(value) if isinstance(value, str) and value[:1] in _JSON else value


def _described(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Paths and descriptions; nested ones, which the command line makes, have the last word."""
    deeper = []
    for key, value in tree.items():
        path = f"{prefix}.{key}" if prefix else str(key)
        if isinstance(value, Mapping) and value and not _is_description(value):
            deeper.append((value, path))
        else:
            yield path, value
    for value, path in deeper:
        yield from _described(value, path)


def _is_description(value: Mapping[str, Any]) -> bool:
    # A setting, too, may be called "int"; but it holds a mapping.
    return WHEN in value or any(
        isinstance(item, list) or (key in KINDS and not isinstance(item, Mapping))
        for key, item in value.items()
    )


def _parameter(path: str, description: Any) -> Parameter:
    fixed = next((each for each in _FIXED if f"{path}.".startswith(f"{each}.")), None)
    if fixed is not None:
        raise ConfigError(f"{fixed} is of the study, it cannot vary in it")
    if not isinstance(description, Mapping):
        raise ConfigError(
            f"expected one of {', '.join(KINDS)} with its values, got {description!r}"
        )
    kinds = [key for key in description if key != WHEN]
    if len(kinds) != 1 or kinds[0] not in KINDS:
        named = ", ".join(map(repr, kinds)) or "none"
        alike = nearest(kinds[0], KINDS) if len(kinds) == 1 else None
        hint = f"; did you mean {alike!r}?" if alike else ""
        raise ConfigError(f"expected one of {', '.join(KINDS)}, got {named}{hint}")
    kind = str(kinds[0])
    return Parameter(path, _distribution(kind, description[kind]), _conditions(description))


def _distribution(kind: str, values: Any) -> BaseDistribution:
    if not isinstance(values, list) or not values:
        raise ConfigError(f"{kind} is {values!r}, expected a list")
    if kind == "choice":
        choices = [encoded(value) for value in values]
        if len(set(map(repr, choices))) < len(choices):
            raise ConfigError(f"choice has a value twice: {values}")
        return CategoricalDistribution(choices)
    counts = _NUMBERS[kind]
    if len(values) not in counts or not all(_is_number(value) for value in values):
        expected = " or ".join(map(str, counts))
        raise ConfigError(f"{kind} is {values}, expected {expected} numbers")
    if kind in _WHOLE and not all(float(value).is_integer() for value in values):
        raise ConfigError(f"{kind} is {values}, expected whole numbers")
    return _range(kind, *values)


def _range(kind: str, low: float, high: float, step: float | None = None) -> BaseDistribution:
    is_log = kind.startswith("log")
    if low > high or (is_log and low <= 0) or (step is not None and step <= 0):
        shown = [low, high] if step is None else [low, high, step]
        least = "0 < low <= high" if is_log else "low <= high, and a step above 0"
        raise ConfigError(f"{kind} is {shown}, expected {least}")
    if step is not None:
        # The last value that is steps away from the first, as one writes it.
        first, last, by = (Decimal(str(value)) for value in (low, high, step))
        high = float(first + (last - first) // by * by)
    if kind in _WHOLE:
        return IntDistribution(int(low), int(high), log=is_log, step=int(step or 1))
    return FloatDistribution(float(low), float(high), log=is_log, step=step and float(step))


def _is_number(value: Any) -> bool:
    is_plain = isinstance(value, int | float) and not isinstance(value, bool)
    return is_plain and math.isfinite(value)


def _conditions(description: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    conditions = description.get(WHEN) or {}
    if not isinstance(conditions, Mapping):
        raise ConfigError(f"when is {conditions!r}, expected a mapping such as {{optim: sgd}}")
    return {
        str(path): tuple(value) if isinstance(value, list) else (value,)
        for path, value in conditions.items()
    }


def _faults_of_conditions(parameters: Mapping[str, Parameter]) -> list[str]:
    faults = []
    for path, parameter in parameters.items():
        for other, allowed in parameter.when.items():
            here = f"  tuning.space.{path}: when.{other}"
            if other not in parameters:
                faults.append(f"{here} is not in tuning.space: leave it out, or let it vary")
            elif not isinstance(parameters[other].distribution, CategoricalDistribution):
                faults.append(f"{here} is a range; only what is a choice can be a condition")
            else:
                wrong = [value for value in allowed if not parameters[other].holds(value)]
                faults += [f"{here}={value!r} is none of its choices" for value in wrong]
        if _depends_on(path, path, parameters):
            faults.append(f"  tuning.space.{path}: its conditions go in a circle")
    return faults


def _depends_on(
    path: str, target: str, parameters: Mapping[str, Parameter], depth: int = 0
) -> bool:
    if path not in parameters or depth > len(parameters):
        return False
    return any(
        other == target or _depends_on(other, target, parameters, depth + 1)
        for other in parameters[path].when
    )


def _ordered(parameters: Mapping[str, Parameter]) -> Iterator[Parameter]:
    """Each after those it depends on."""
    left, placed = dict(parameters), set[str]()
    while left:
        ready = [path for path, parameter in left.items() if placed.issuperset(parameter.when)]
        for path in ready:
            yield left.pop(path)
        placed.update(ready)


def _choices(spread: BaseDistribution) -> Sequence[Any]:
    return spread.choices if isinstance(spread, CategoricalDistribution) else ()


def _all_values(parameter: Parameter) -> list[Any]:
    spread = parameter.distribution
    if isinstance(spread, CategoricalDistribution):
        return parameter.examples()
    if isinstance(spread, IntDistribution) and not spread.log:
        return list(range(spread.low, spread.high + 1, spread.step))
    if isinstance(spread, FloatDistribution) and spread.step:
        count = int((spread.high - spread.low) / spread.step + _ROUNDING)
        return [spread.low + index * spread.step for index in range(count + 1)]
    raise ConfigError(
        f"tuning.space.{parameter.path}: a grid needs choices, int or quniform, not a range that "
        "is continuous; choose another tuning.sampler"
    )
