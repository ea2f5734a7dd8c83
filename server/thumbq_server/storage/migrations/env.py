"""Where alembic enters; the connection comes from `upgrade`, already in a transaction."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], version_table="thumbq_version")
context.run_migrations()
