"""What requests used, and how long replicas were there."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make both tables."""
    op.create_table(
        "usage",
        sa.Column("prediction_id", sa.String(32), primary_key=True),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("principal", sa.String(255), nullable=False),
        sa.Column("endpoint", sa.String(255), nullable=False),
        sa.Column("version", sa.String(32), nullable=False),
        sa.Column("replica", sa.String(64), nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("rows", sa.Integer, nullable=False),
        sa.Column("bytes_in", sa.Integer, nullable=False),
        sa.Column("bytes_out", sa.Integer, nullable=False),
        sa.Column("compute_s", sa.Float, nullable=False),
        sa.Column("queue_s", sa.Float, nullable=False),
        sa.Column("total_s", sa.Float, nullable=False),
    )
    op.create_index("usage_at", "usage", ["at"])
    op.create_index("usage_endpoint_at", "usage", ["endpoint", "at"])
    op.create_index("usage_key_at", "usage", ["key", "at"])
    op.create_table(
        "replica_time",
        sa.Column("replica", sa.String(64), primary_key=True),
        sa.Column("minute", sa.Integer, primary_key=True),
        sa.Column("endpoint", sa.String(255), nullable=False),
        sa.Column("version", sa.String(32), nullable=False),
        sa.Column("alive_s", sa.Float, nullable=False),
        sa.Column("busy_s", sa.Float, nullable=False),
    )
    op.create_index("replica_time_minute", "replica_time", ["minute"])
