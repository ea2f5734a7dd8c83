"""A full disk of the database: found by the statements that fail, and over when there is room again."""

import contextlib
from typing import Any

import asyncpg

# A megabyte. A row that is only changed takes no room, and would say that all is well.
_TAKE_ROOM = (
    "CREATE TEMPORARY TABLE thumbq_room ON COMMIT DROP AS SELECT md5(i::text) FROM generate_series(1, 16000) AS i"
)


class Disk:
    """Remembers that the disk was full until there is room on it."""

    def __init__(self) -> None:
        self.was_full = False

    def note(self, error: BaseException) -> None:
        """Take note of an error of PostgreSQL."""
        self.was_full |= isinstance(error, asyncpg.DiskFullError)

    async def try_again(self, connection: Any) -> None:
        """Take some room for a moment. Raises DiskFullError."""
        with contextlib.suppress(asyncpg.InsufficientPrivilegeError):  # a role without temporary tables just goes on
            async with connection.transaction():
                await connection.execute(_TAKE_ROOM)
        self.was_full = False
