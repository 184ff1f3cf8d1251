"""Alembic's entry: runs every revision in one transaction on the asyncpg connection that base.revision hands over."""

from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection, transaction_per_migration=True)
with context.begin_transaction():
    context.run_migrations()
