"""Releases in the database, and what requests say of the two versions of one."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from sqlalchemy import case, insert, select, update
from sqlalchemy.exc import IntegrityError

from aiplat.errors import ConfigError
from aiplat.serving.releases.comparison import Comparison
from aiplat.serving.releases.release import BEAT_S, ROLLED_BACK, RUNNING, Release
from aiplat.store.records import Records
from aiplat.store.tables import comparisons, releases, usage

# A job that lives has said so by then.
_WATCH_S = 4 * BEAT_S


@dataclass(frozen=True)
class Answered:
    """What a usage record says of a version. seconds: on its replica, else of the whole request.

    The ways to two versions differ: one may compute in the process that answers HTTP.
    """

    prediction_id: str
    at: float
    key: str
    version: str
    status: int
    seconds: float


class ReleaseStore:
    """The releases of one database. clock: seconds since 1970."""

    def __init__(
        self,
        records: Records,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._records, self._clock, self._sleep = records, clock, sleep

    def running(self) -> Sequence[Release]:
        """The releases that run, one an endpoint at most."""
        query = select(releases).where(releases.c.state == RUNNING)
        with self._records.reading() as connection:
            return [Release(**row._mapping) for row in connection.execute(query)]

    def find(self, release_id: str) -> Release:
        """The release of that id."""
        query = select(releases).where(releases.c.id == release_id)
        with self._records.reading() as connection:
            return Release(**connection.execute(query).one()._mapping)

    def begin(self, release: Release) -> Release:
        """Write a release down that runs from now on, with no weight yet.

        One whose job ended without a word is ended first, which takes seconds. Raises ConfigError
        where another one runs.
        """
        for other in self._of(release.endpoint):
            self._sleep(_WATCH_S)
            if any(each.heartbeat != other.heartbeat for each in self._of(release.endpoint)):
                raise self._occupied(release)
            self.end(other.id, ROLLED_BACK, "its job ended without a word")
        now = self._clock()
        begun = replace(release, weight=0.0, mirror=0.0, heartbeat=now, began_at=now)
        try:
            with self._records.writing() as connection:
                connection.execute(insert(releases).values(asdict(begun)))
        except IntegrityError as error:
            raise self._occupied(release) from error
        return begun

    def beat(self, release_id: str) -> bool:
        """Say that the release is watched. Returns whether it runs still."""
        return self._set(release_id, heartbeat=self._clock())

    def divide(self, release_id: str, weight: float, mirror: float) -> bool:
        """Set the shares of a running release. Returns whether it runs still."""
        return self._set(release_id, weight=weight, mirror=mirror)

    def end(self, release_id: str, state: str, reason: str) -> bool:
        """End a running release. Returns whether it ran still."""
        return self._set(release_id, state=state, reason=reason, ended_at=self._clock())

    def answered(self, release: Release, since: float) -> Sequence[Answered]:
        """The requests to the endpoint that ended from `since` on."""
        columns = [usage.c[name] for name in ("prediction_id", "at", "key", "version", "status")]
        seconds = case((usage.c.model_s > 0, usage.c.model_s), else_=usage.c.total_s)
        query = select(*columns, seconds.label("seconds")).where(
            usage.c.endpoint == release.endpoint,
            usage.c.at >= since,
            usage.c.version.in_((release.champion, release.candidate)),
        )
        with self._records.reading() as connection:
            return [Answered(**row._mapping) for row in connection.execute(query)]

    def compared(self, release: Release, since: float) -> Sequence[Comparison]:
        """The requests from `since` on that both versions were asked with."""
        query = select(comparisons).where(
            comparisons.c.release == release.id, comparisons.c.at >= since
        )
        with self._records.reading() as connection:
            return [Comparison(**row._mapping) for row in connection.execute(query)]

    def _of(self, endpoint: str) -> Sequence[Release]:
        return [release for release in self.running() if release.endpoint == endpoint]

    def _set(self, release_id: str, **values: Any) -> bool:
        query = update(releases).where(releases.c.id == release_id, releases.c.state == RUNNING)
        with self._records.writing() as connection:
            return bool(connection.execute(query.values(values)).rowcount)

    def _occupied(self, release: Release) -> ConfigError:
        told = ", ".join(
            f"{other.id} of version {other.candidate}" for other in self._of(release.endpoint)
        )
        return ConfigError(
            f"a release of {release.endpoint} runs already ({told}): wait for its end, or end it "
            "with Ctrl-C where it was started"
        )
