"""The tables of the database of keys and usage.

To add or change one: change it here, and add the step that leads there to `migrations/versions`,
named by the next number, whose `down_revision` is the number before it. A test holds the two
against each other. Times are seconds since 1970, UTC.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    text,
)

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

# What each request used; a row is written once.
usage = Table(
    "usage",
    metadata,
    Column("prediction_id", String(32), primary_key=True),
    Column("at", Float, nullable=False),
    Column("key", String(64), nullable=False),
    Column("principal", String(255), nullable=False),
    Column("endpoint", String(255), nullable=False),
    Column("version", String(32), nullable=False),
    Column("replica", String(64), nullable=False),
    Column("status", Integer, nullable=False),
    Column("rows", Integer, nullable=False),
    Column("bytes_in", Integer, nullable=False),
    Column("bytes_out", Integer, nullable=False),
    Column("compute_s", Float, nullable=False),
    Column("queue_s", Float, nullable=False),
    Column("model_s", Float, nullable=False, server_default="0"),
    Column("total_s", Float, nullable=False),
    Index("usage_at", "at"),
    Index("usage_endpoint_at", "endpoint", "at"),
    Index("usage_key_at", "key", "at"),
)

# How long a replica was there, how much of that its model ran, and how much of that for requests
# that had left or failed; by minute since 1970.
replica_time = Table(
    "replica_time",
    metadata,
    Column("replica", String(64), primary_key=True),
    Column("minute", Integer, primary_key=True),
    Column("endpoint", String(255), nullable=False),
    Column("version", String(32), nullable=False),
    Column("alive_s", Float, nullable=False),
    Column("busy_s", Float, nullable=False),
    Column("unclaimed_s", Float, nullable=False, server_default="0"),
    Index("replica_time_minute", "minute"),
)

# A version of a model that takes over from another one, bit by bit; the job that watches it beats.
releases = Table(
    "releases",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("endpoint", String(255), nullable=False),
    Column("champion", String(32), nullable=False),
    Column("candidate", String(32), nullable=False),
    Column("sticky", String(16), nullable=False),
    Column("weight", Float, nullable=False),
    Column("mirror", Float, nullable=False),
    Column("state", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("heartbeat", Float, nullable=False),
    Column("began_at", Float, nullable=False),
    Column("ended_at", Float),
    Index(
        "releases_running",
        "endpoint",
        unique=True,
        sqlite_where=text("state = 'running'"),
        postgresql_where=text("state = 'running'"),
    ),
)

# What both versions of a release said to the same request; a row is written once.
comparisons = Table(
    "comparisons",
    metadata,
    Column("prediction_id", String(32), primary_key=True),
    Column("release", String(64), nullable=False),
    Column("endpoint", String(255), nullable=False),
    Column("at", Float, nullable=False),
    Column("answered_by", String(32), nullable=False),
    Column("mirrored", Boolean, nullable=False),
    Column("rows", Integer, nullable=False),
    Column("disagreeing", Integer, nullable=False),
    Column("difference", Float, nullable=False),
    Column("champion_s", Float, nullable=False),
    Column("candidate_s", Float, nullable=False),
    Column("compute_s", Float, nullable=False),
    Column("error", Text, nullable=False),
    Index("comparisons_at", "at"),
    Index("comparisons_release_at", "release", "at"),
)
