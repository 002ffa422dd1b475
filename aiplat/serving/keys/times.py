"""Times as people write them: how long, until when, and the months of quotas. All in UTC."""

import re
from datetime import UTC, datetime

from aiplat.errors import ConfigError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")


def duration_s(text: str) -> float:
    """The seconds of a duration such as `90d` or `1h`. Raises ConfigError."""
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise ConfigError(
            f"{text!r} is no duration; expected a number and one of s, m, h, d, w, as in 90d"
        )
    return float(found[1]) * _UNITS[found[2]]


def moment(text: str, now: float) -> float:
    """Seconds since 1970 of a date, a date with time, or a duration from now. Raises ConfigError.

    A day begins at midnight.
    """
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        try:
            return now + duration_s(text)
        except ConfigError:
            raise ConfigError(
                f"{text!r} is no time; expected a duration as in 90d, or a date as in 2031-12-31"
            ) from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def shown(moment_s: float) -> str:
    """A moment as people read it."""
    return datetime.fromtimestamp(moment_s, UTC).strftime("%Y-%m-%d %H:%M UTC")


def month(now: float) -> str:
    """The calendar month that `now` is in, as `2026-11`."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m")


def next_month(now: float) -> float:
    """The moment at which the month after `now` begins."""
    here = datetime.fromtimestamp(now, UTC)
    year, number = divmod(here.year * 12 + here.month, 12)
    return datetime(year, number + 1, 1, tzinfo=UTC).timestamp()
