"""The configuration of the jobs around an endpoint: see `schema`."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from aiplat.config.targets import node
from aiplat.errors import ConfigError
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


def _moment(name: str, text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(
            f"{name} is {text!r}, expected a day as 2026-11-01 or a time as 2026-11-01T08:00"
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
