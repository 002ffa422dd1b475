"""Run by Alembic: takes the steps on the connection, and in the transaction, of who opens."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
