"""The configuration of the jobs around an endpoint: see `schema`."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Literal

from aiplat.cluster.scale import ClusterConfig
from aiplat.config.targets import node
from aiplat.config.words import word
from aiplat.errors import ConfigError
from aiplat.registry.mlflow import CHAMPION
from aiplat.registry.versions import parse_reference
from aiplat.serving.metering.prices import PriceList


@dataclass(kw_only=True)
class UsageConfig:
    """Show what keys used of endpoints, what it costs, and whether the books close.

    since: the first moment that counts, `2026-11-01` or `2026-11-01T08:00`, in UTC; null: the
        beginning of this month. Moments are cut to whole minutes.
    until: the first moment that no longer counts; null: now.
    by: what a line is of, out of `key`, `endpoint` and `day`.
    format: `table` for people; `csv` or `json` for programs, on the standard output.
    availability: share of requests that the service promises not to fail.
    prices: what requests cost.
    records: database of keys and usage; null: <storage>/records.db.
    storage: folder or URI that everything aiplat makes lands under.
    """

    since: str | None = None
    until: str | None = None
    by: list[Literal["key", "endpoint", "day"]] = field(default_factory=lambda: ["key", "endpoint"])
    format: Literal["table", "csv", "json"] = "table"
    availability: float = 0.999
    prices: PriceList = field(default_factory=PriceList)
    records: str | None = None
    storage: str = "storage"

    def __post_init__(self) -> None:
        if not 0 <= self.availability <= 1:
            raise ConfigError(f"availability is {self.availability}, expected 0 to 1")
        since, until = self.window
        if since >= until:
            raise ConfigError(f"since={self.since} is not before until={self.until or 'now'}")

    @property
    def window(self) -> tuple[float, float]:
        """From when to when, in whole minutes, as seconds since 1970."""
        now = datetime.now(UTC)
        until = now if self.until is None else _moment("until", self.until)
        month = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        since = month if self.since is None else _moment("since", self.since)
        # The minute that is under way counts, too.
        last = -(-until.timestamp() // 60) if self.until is None else until.timestamp() // 60
        return since.timestamp() // 60 * 60, last * 60


@dataclass(kw_only=True)
class WhyConfig:
    """Show where one answer came from: the model, its data, the key, and what took how long.

    prediction: the id in the answer's `prediction_id`, or its header `X-Prediction-Id`.
    records: database of keys and usage; null: <storage>/records.db.
    storage: folder or URI that everything aiplat makes lands under.
    tracking: where the model registry is (group `tracking`).
    """

    prediction: str
    records: str | None = None
    storage: str = "storage"
    tracking: dict[str, Any] = node("storage")


@dataclass(kw_only=True)
class ReleaseConfig:
    """Let a version of a model take over from the one an endpoint serves, bit by bit.

    model: what the endpoint calls it, `clip`; `clip@live` where another alias than champion is to
        move in the end; may be the first word.
    candidate: the version that takes over: an alias or a number.
    steps: percent of the askers that the candidate answers, one after another; 0: none, it is only
        compared. The alias moves after 100.
    shadow: as steps=[0]: the candidate is asked beside the champion, and a report is made.
    mirror: percent of the requests that both versions are asked with, to compare their answers.
    sticky: `key`: one key, or address without keys, is answered by one version; `none`: each
        request for itself, for endpoints that few ask.
    min_requests: that have to say something of the candidate at each step.
    step_s: how long a step takes at least.
    timeout_s: how long a step may wait for its requests; then the release is stopped.
    max_error_share: of the candidate's requests that may fail beyond the champion's share.
    max_latency_ratio: how much slower it may be, at the 95th percentile.
    max_disagreement: share of rows that it may answer otherwise than the champion; 1: any.
    alpha: probability of stopping a candidate that keeps to all limits.
    storage: folder or URI that everything aiplat makes lands under.
    tracking: where the model registry is (group `tracking`).
    """

    model: str = word()
    candidate: str = "challenger"
    steps: list[float] = field(default_factory=lambda: [1.0, 10.0, 50.0, 100.0])
    shadow: bool = False
    mirror: float = 10.0
    sticky: Literal["key", "none"] = "key"
    min_requests: int = 200
    step_s: float = 60.0
    timeout_s: float = 3600.0
    max_error_share: float = 0.01
    max_latency_ratio: float = 1.5
    max_disagreement: float = 0.1
    alpha: float = 0.01
    storage: str = "storage"
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    tracking: dict[str, Any] = node("storage")

    def __post_init__(self) -> None:
        rising = all(one < other for one, other in pairwise(self.steps))
        if not self.steps or not rising or self.steps[0] < 0 or self.steps[-1] > 100:
            raise ConfigError(
                f"steps is {self.steps}, expected percents that rise, as [1, 10, 50, 100]"
            )
        if parse_reference(self.model).version is not None:
            raise ConfigError(f"model is {self.model!r}: leave the version out, as in model=clip")
        self._check_ranges()
        if self.shares[0] == 0 and self.mirror == 0:
            raise ConfigError("mirror is 0: a candidate that answers nobody needs some to compare")
        if self.timeout_s < self.step_s:
            raise ConfigError(
                f"timeout_s is {self.timeout_s}, expected at least step_s ({self.step_s})"
            )

    def _check_ranges(self) -> None:
        for name, most in (("mirror", 100), ("max_error_share", 1), ("max_disagreement", 1)):
            if not 0 <= getattr(self, name) <= most:
                raise ConfigError(f"{name} is {getattr(self, name)}, expected 0 to {most}")
        for name, least in (("min_requests", 1), ("step_s", 0), ("max_latency_ratio", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} is {getattr(self, name)}, expected at least {least}")
        if not 0 < self.alpha < 1:
            raise ConfigError(f"alpha is {self.alpha}, expected between 0 and 1")

    @property
    def name(self) -> str:
        """What the endpoint calls the model."""
        return parse_reference(self.model).name

    @property
    def alias(self) -> str:
        """What moves to the candidate in the end."""
        return parse_reference(self.model).alias or CHAMPION

    @property
    def candidate_reference(self) -> str:
        """The candidate as the registry resolves it, whether the model is named or not."""
        if "@" in self.candidate or ":" in self.candidate:
            return self.candidate
        return f"{self.name}{':' if self.candidate.isdecimal() else '@'}{self.candidate}"

    @property
    def shares(self) -> tuple[float, ...]:
        """The steps as parts of 1."""
        return (0.0,) if self.shadow else tuple(step / 100 for step in self.steps)


def _moment(name: str, text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(
            f"{name} is {text!r}, expected a day as 2026-11-01 or a time as 2026-11-01T08:00"
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
