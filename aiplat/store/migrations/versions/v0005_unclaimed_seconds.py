"""How long models ran for requests that had left or failed when the model was done."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the column; of earlier minutes it is not known."""
    op.add_column(
        "replica_time", sa.Column("unclaimed_s", sa.Float, nullable=False, server_default="0")
    )
