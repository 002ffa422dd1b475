"""How the database of keys and usage came to look as it does: Alembic's steps, in the wheel."""
