"""The database's side of usage: lines are taken in once, however often they come."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any

from sqlalchemy import Table, case, func, select
from sqlalchemy.dialects import postgresql, sqlite

from aiplat.serving.metering.replica_time import ReplicaMinute
from aiplat.serving.metering.spool import Line
from aiplat.serving.metering.usage import UsageRecord
from aiplat.serving.releases.comparison import Comparison
from aiplat.store.records import Records
from aiplat.store.tables import comparisons, replica_time, usage

USAGE, REPLICA, COMPARISON = "usage", "replica", "comparison"

# SQLite takes so many values in a statement at least.
_MAX_VALUES = 900


def usage_line(record: UsageRecord) -> Line:
    """A usage record as the spool keeps it."""
    return {"kind": USAGE, **asdict(record)}


def replica_line(minute: ReplicaMinute) -> Line:
    """A minute of a replica as the spool keeps it."""
    return {"kind": REPLICA, **asdict(minute)}


def comparison_line(comparison: Comparison) -> Line:
    """A comparison of two versions as the spool keeps it."""
    return {"kind": COMPARISON, **asdict(comparison)}


@dataclass(frozen=True)
class Ledger:
    """Usage in the database."""

    database: Records

    def take(self, lines: Sequence[Line]) -> None:
        """Take lines of a spool in, all or none of them. Lines that were taken in change nothing.

        Raises RecordsError where the database does not answer.
        """
        records = _of_kind(lines, USAGE, UsageRecord)
        # Each line of a minute says all of it: the last one counts.
        minutes = {
            (line["replica"], line["minute"]): line
            for line in _of_kind(lines, REPLICA, ReplicaMinute)
        }
        compared = _of_kind(lines, COMPARISON, Comparison)
        with self.database.writing() as connection:
            for table, rows in ((usage, records), (comparisons, compared)):
                for some in _portions(rows):
                    connection.execute(self._insert(table).on_conflict_do_nothing(), some)
            for some in _portions(list(minutes.values())):
                connection.execute(self._grow(), some)

    def close(self) -> None:
        """Give the database's connections back."""
        self.database.close()

    def records(self, since: float, until: float) -> Iterator[UsageRecord]:
        """The requests whose answers were ready from `since` to before `until`, oldest first."""
        query = select(usage).where(usage.c.at >= since, usage.c.at < until).order_by(usage.c.at)
        with self.database.reading() as connection:
            for row in connection.execution_options(yield_per=5000).execute(query):
                yield UsageRecord(**row._mapping)

    def find(self, prediction_id: str) -> UsageRecord | None:
        """The record of one request."""
        query = select(usage).where(usage.c.prediction_id == prediction_id)
        with self.database.reading() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else UsageRecord(**row._mapping)

    def replica_minutes(self, since: float, until: float) -> list[ReplicaMinute]:
        """What replicas were there in whole minutes from `since` to before `until`."""
        first, last = int(since // 60), int(until // 60)
        query = select(replica_time).where(
            replica_time.c.minute >= first, replica_time.c.minute < last
        )
        with self.database.reading() as connection:
            return [ReplicaMinute(**row._mapping) for row in connection.execute(query)]

    def mirrored_s(self, since: float, until: float) -> float:
        """Seconds that models ran to be compared and for nobody's answer."""
        query = select(func.coalesce(func.sum(comparisons.c.compute_s), 0.0)).where(
            comparisons.c.at >= since, comparisons.c.at < until
        )
        with self.database.reading() as connection:
            return float(connection.execute(query).scalar_one())

    def _grow(self) -> Any:
        """Keep what is more: a minute only grows, and its lines may come in any order."""
        insert = self._insert(replica_time)
        given = insert.excluded
        grown = {
            name: case(
                (given[name] > replica_time.c[name], given[name]), else_=replica_time.c[name]
            )
            for name in ("alive_s", "busy_s", "unclaimed_s")
        }
        return insert.on_conflict_do_update(index_elements=["replica", "minute"], set_=grown)

    def _insert(self, table: Table) -> Any:
        return _INSERTS[self.database.dialect](table)


_INSERTS: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


def _of_kind(lines: Iterable[Line], kind: str, row: type[Any]) -> list[dict[str, Any]]:
    """The lines of a kind as rows.

    What a later aiplat wrote besides is left out, and what an earlier one did not know is filled
    in, so that lines of a spool outlive an update.
    """
    names = [field.name for field in fields(row)]
    known = {field.name: field.default for field in fields(row) if field.default is not MISSING}
    filled = (known | line for line in lines if line.get("kind") == kind)
    return [
        {name: line[name] for name in names}
        for line in filled
        if all(name in line for name in names)
    ]


def _portions(rows: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    for start in range(0, len(rows), _MAX_VALUES):
        yield rows[start : start + _MAX_VALUES]
