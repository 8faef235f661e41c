"""Alembic's entry for every command: the caller's connection, our tables, one transaction."""

from alembic import context

from synthbank.catalogue.tables import Base

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    render_as_batch=connection.dialect.name == "sqlite",
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
