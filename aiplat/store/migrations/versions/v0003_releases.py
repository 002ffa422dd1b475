"""Releases of model versions, and what both versions of one said to the same requests."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make both tables."""
    op.create_table(
        "releases",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("endpoint", sa.String(255), nullable=False),
        sa.Column("champion", sa.String(32), nullable=False),
        sa.Column("candidate", sa.String(32), nullable=False),
        sa.Column("sticky", sa.String(16), nullable=False),
        sa.Column("weight", sa.Float, nullable=False),
        sa.Column("mirror", sa.Float, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("heartbeat", sa.Float, nullable=False),
        sa.Column("began_at", sa.Float, nullable=False),
        sa.Column("ended_at", sa.Float),
    )
    running = sa.text("state = 'running'")
    op.create_index(
        "releases_running",
        "releases",
        ["endpoint"],
        unique=True,
        sqlite_where=running,
        postgresql_where=running,
    )
    op.create_table(
        "comparisons",
        sa.Column("prediction_id", sa.String(32), primary_key=True),
        sa.Column("release", sa.String(64), nullable=False),
        sa.Column("endpoint", sa.String(255), nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("answered_by", sa.String(32), nullable=False),
        sa.Column("mirrored", sa.Boolean, nullable=False),
        sa.Column("rows", sa.Integer, nullable=False),
        sa.Column("disagreeing", sa.Integer, nullable=False),
        sa.Column("difference", sa.Float, nullable=False),
        sa.Column("champion_s", sa.Float, nullable=False),
        sa.Column("candidate_s", sa.Float, nullable=False),
        sa.Column("compute_s", sa.Float, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
    )
    op.create_index("comparisons_at", "comparisons", ["at"])
    op.create_index("comparisons_release_at", "comparisons", ["release", "at"])
