"""The keys in the database: made, listed, revoked, rotated, and what they used of their quotas."""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from aiplat.config.problems import nearest
from aiplat.errors import ConfigError
from aiplat.serving.keys import secret, times
from aiplat.serving.keys.addresses import network
from aiplat.serving.keys.key import ApiKey, Rights, check_principal
from aiplat.store.records import Records
from aiplat.store.tables import api_keys, quota_counts

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

# Who the first key of an endpoint belongs to, where nobody made one.
LOCAL = "local"

# Requests that were let in, by key id and month.
Counts = Mapping[tuple[str, str], int]


@dataclass(frozen=True)
class Snapshot:
    """All keys by prefix, and requests of `month` by key id, at one moment."""

    keys: Mapping[str, ApiKey]
    used: Mapping[str, int]
    month: str


class KeyStore:
    """The keys of one database. clock: gives seconds since 1970."""

    def __init__(self, records: Records, clock: Callable[[], float] = time.time) -> None:
        self._records = records
        self._clock = clock
        self._read: dict[str, tuple[Any, ApiKey]] = {}

    def create(
        self, principal: str, rights: Rights, expires_at: float | None = None
    ) -> tuple[ApiKey, str]:
        """A new key, and its text, which is nowhere kept. Raises ConfigError."""
        text, now = secret.new_key_text(), self._clock()
        if expires_at is not None and expires_at <= now:
            raise ConfigError(f"expires is {times.shown(expires_at)}, expected a time to come")
        key = ApiKey(
            prefix=text.prefix,
            key_id=text.prefix,
            secret_hash=secret.hashed(text.secret),
            principal=check_principal(principal),
            rights=rights,
            created_at=now,
            expires_at=expires_at,
        )
        with self._records.writing() as connection:
            connection.execute(insert(api_keys).values(_columns(key)))
        return key, str(text)

    def create_first(self) -> str | None:
        """The text of a new key to all models, made where no key is usable; None elsewhere."""
        now = self._clock()
        if any(key.is_usable(now) for key in self.listed()):
            return None
        return self.create(LOCAL, Rights())[1]

    def listed(self, principal: str | None = None) -> Sequence[ApiKey]:
        """The keys, of one owner where one is given, in the order they were made."""
        query = select(api_keys).order_by(api_keys.c.created_at)
        if principal is not None:
            query = query.where(api_keys.c.principal == principal)
        with self._records.reading() as connection:
            return [_key(row) for row in connection.execute(query)]

    def revoke(self, prefix: str) -> ApiKey:
        """End a key now. Raises ConfigError where there is none."""
        with self._records.writing() as connection:
            key = _found(connection, prefix)
            if key.revoked_at is None:
                key = dataclasses.replace(key, revoked_at=self._clock())
                _set(connection, prefix, revoked_at=key.revoked_at)
            return key

    def rotate(self, prefix: str, grace_s: float) -> tuple[ApiKey, str]:
        """A new key with the rights of an old one, which ends after `grace_s`, and its text.

        Both draw on one quota. Raises ConfigError where the old one is not usable.
        """
        text, now = secret.new_key_text(), self._clock()
        with self._records.writing() as connection:
            old = _found(connection, prefix)
            if not old.is_usable(now):
                raise ConfigError(
                    f"key {prefix} is {old.state(now)} and cannot be rotated; create a new one"
                )
            new = dataclasses.replace(
                old, prefix=text.prefix, secret_hash=secret.hashed(text.secret), created_at=now
            )
            ends = now + grace_s
            _set(connection, prefix, expires_at=min(ends, old.expires_at or ends))
            connection.execute(insert(api_keys).values(_columns(new)))
        return new, str(text)

    def exchange(self, counts: Counts) -> Snapshot:
        """Add requests that were let in, and read all that a replica must know."""
        month = times.month(self._clock())
        # Who has nothing to tell need not wait for others who write.
        access = self._records.writing if counts else self._records.reading
        with access() as connection:
            if counts:
                self._add(connection, counts)
            rows = connection.execute(select(api_keys)).all()
            counted = connection.execute(
                select(quota_counts.c.key_id, quota_counts.c.num_requests).where(
                    quota_counts.c.month == month
                )
            )
            used = {row.key_id: row.num_requests for row in counted}
        # Reading thousands of keys again and again, only those that changed are built anew.
        before = self._read
        self._read = {row.prefix: _built(row, before) for row in rows}
        keys = {prefix: key for prefix, (_, key) in self._read.items()}
        return Snapshot(keys, used, month)

    def used(self) -> Mapping[str, int]:
        """Requests of this month by key id, as far as they are counted."""
        return self.exchange({}).used

    def _add(self, connection: "Connection", counts: Counts) -> None:
        dialect = postgresql if self._records.dialect == "postgresql" else sqlite
        # In one order, so that two replicas never wait for each other's rows.
        rows = [
            {"key_id": key_id, "month": month, "num_requests": number}
            for (key_id, month), number in sorted(counts.items())
        ]
        fresh = dialect.insert(quota_counts)
        total = quota_counts.c.num_requests + fresh.excluded.num_requests
        connection.execute(
            fresh.on_conflict_do_update(
                index_elements=["key_id", "month"], set_={"num_requests": total}
            ),
            rows,
        )


def _found(connection: "Connection", prefix: str) -> ApiKey:
    row = connection.execute(select(api_keys).where(api_keys.c.prefix == prefix)).one_or_none()
    if row is None:
        names = connection.execute(select(api_keys.c.prefix)).scalars().all()
        alike = nearest(prefix, names)
        hint = f"; did you mean {alike}?" if alike else ""
        raise ConfigError(f"there is no key {prefix}{hint} ('keys list' shows them)")
    return _key(row)


def _set(connection: "Connection", prefix: str, **values: float | None) -> None:
    connection.execute(update(api_keys).where(api_keys.c.prefix == prefix).values(values))


def _built(row: "Row[Any]", before: Mapping[str, tuple[Any, ApiKey]]) -> tuple[Any, ApiKey]:
    known = before.get(row.prefix)
    return known if known is not None and known[0] == row else (row, _key(row))


def _key(row: "Row[Any]") -> ApiKey:
    rights = Rights(
        tuple(row.scopes),
        tuple(network(text) for text in row.cidrs),
        row.rate,
        row.burst,
        row.quota,
    )
    return ApiKey(
        prefix=row.prefix,
        key_id=row.key_id,
        secret_hash=row.secret_hash,
        principal=row.principal,
        rights=rights,
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
    )


def _columns(key: ApiKey) -> dict[str, Any]:
    rights = key.rights
    return {
        "prefix": key.prefix,
        "key_id": key.key_id,
        "secret_hash": key.secret_hash,
        "principal": key.principal,
        "scopes": list(rights.scopes),
        "cidrs": [str(item) for item in rights.cidrs],
        "rate": rights.rate,
        "burst": rights.burst,
        "quota": rights.quota,
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
    }
