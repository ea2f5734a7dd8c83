"""The one description of the tables, as SQLAlchemy metadata. A test proves that the migrations produce exactly this."""

from sqlalchemy import Connection, text

from thumbq_server.storage.schema import access, beside, queue
from thumbq_server.storage.schema.base import metadata
from thumbq_server.storage.views import VIEWS

__all__ = ["access", "beside", "create", "metadata", "queue"]


def create(connection: Connection) -> None:
    """Make everything that is described here in an empty database. The migrations do so step by step."""
    metadata.create_all(connection)
    for columns, setting in (
        (queue.STORED_EXTERNAL, "STORAGE EXTERNAL"),
        (queue.NOT_SAMPLED, "STATISTICS 0"),
        (queue.SAMPLED_LITTLE, "STATISTICS 10"),
    ):
        for table, names in columns.items():
            for name in names:
                connection.execute(text(f"ALTER TABLE {table} ALTER COLUMN {name} SET {setting}"))
    for name, query in VIEWS.items():
        connection.execute(text(f"CREATE VIEW {name} AS {query}"))
    connection.execute(queue.queue_head.insert())
