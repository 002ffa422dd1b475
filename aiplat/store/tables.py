"""The tables of the database of keys and usage.

To add or change one: change it here, and add the step that leads there to `migrations/versions`,
named by the next number, whose `down_revision` is the number before it. A test holds the two
against each other. Times are seconds since 1970, UTC.
"""

from sqlalchemy import JSON, BigInteger, Column, Float, Index, Integer, MetaData, String, Table

metadata = MetaData()

# An API key, without its secret. A rotated key is a second row with the same `key_id`.
api_keys = Table(
    "api_keys",
    metadata,
    Column("prefix", String(16), primary_key=True),
    Column("key_id", String(16), nullable=False),
    Column("secret_hash", String(64), nullable=False),
    Column("principal", String(255), nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("cidrs", JSON, nullable=False),
    Column("rate", Float),
    Column("burst", Integer),
    Column("quota", BigInteger),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float),
    Column("revoked_at", Float),
    Index("api_keys_key_id", "key_id"),
)

# Requests that were let in, by key and calendar month (`2026-11`) of UTC.
quota_counts = Table(
    "quota_counts",
    metadata,
    Column("key_id", String(16), primary_key=True),
    Column("month", String(7), primary_key=True),
    Column("num_requests", BigInteger, nullable=False),
)
