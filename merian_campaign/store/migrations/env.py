"""What Alembic runs for each command: on the connection that `migrate` hands over, in one transaction."""

from alembic import context

from merian_campaign.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
