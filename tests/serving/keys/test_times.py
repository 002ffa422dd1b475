from datetime import UTC, datetime

import pytest

from aiplat.errors import ConfigError
from aiplat.serving.keys import times

NOW = datetime(2026, 11, 22, 15, 30, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0s", 0), ("45s", 45), ("30m", 1800), ("1.5h", 5400), ("90d", 90 * 86400), ("2w", 1209600)],
)
def test_a_duration_is_read(text: str, seconds: float) -> None:
    assert times.duration_s(text) == seconds
    assert times.moment(text, NOW) == NOW + seconds


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("2031-12-31", datetime(2031, 12, 31, tzinfo=UTC)),
        ("2031-12-31T10:00", datetime(2031, 12, 31, 10, tzinfo=UTC)),
        ("2031-12-31T10:00+02:00", datetime(2031, 12, 31, 8, tzinfo=UTC)),
    ],
)
def test_a_date_is_read_in_utc_unless_it_says_otherwise(text: str, when: datetime) -> None:
    assert times.moment(text, NOW) == when.timestamp()


@pytest.mark.parametrize("text", ["90", "d", "-1d", "tomorrow", "2031-13-01", ""])
def test_what_is_no_time_is_told(text: str) -> None:
    with pytest.raises(ConfigError, match=r"is no time; expected a duration as in 90d, or a date"):
        times.moment(text, NOW)


@pytest.mark.parametrize(
    ("when", "month", "following"),
    [
        (datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC), "2026-11", datetime(2026, 12, 1)),
        (datetime(2026, 12, 1, tzinfo=UTC), "2026-12", datetime(2027, 1, 1)),
        (datetime(2028, 2, 29, 12, tzinfo=UTC), "2028-02", datetime(2028, 3, 1)),
    ],
)
def test_months_are_those_of_utc(when: datetime, month: str, following: datetime) -> None:
    now = when.timestamp()
    assert times.month(now) == month
    assert times.next_month(now) == following.replace(tzinfo=UTC).timestamp()
