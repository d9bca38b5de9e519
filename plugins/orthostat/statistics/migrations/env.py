"""Alembic's entry point: migrates in the transaction that `orthostat.statistics.database` opened."""

from alembic import context

from orthostat.statistics.database import VERSION_TABLE
from orthostat.statistics.declared import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    version_table=VERSION_TABLE,
)
with context.begin_transaction():
    context.run_migrations()
