"""How long the model's copy had each request, whatever the way to it was."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the column; of older requests it is not known."""
    op.add_column("usage", sa.Column("model_s", sa.Float, nullable=False, server_default="0"))
