"""The pause of the queue: a row in `queue_pause` while there is one. Claims look for it in their own statement."""

from thumbq_server.domain.operations import Pause
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.hints import JOBS
from thumbq_server.storage.statements import Statement

# The columns stand in the order of Pause.
BEGIN_PAUSE = Statement(
    "pause_begin",
    "paused_by text, reason text",
    """
    INSERT INTO queue_pause (paused_by, reason) VALUES ($1, $2)
    ON CONFLICT (only_row) DO UPDATE SET paused_at = now(), paused_by = $1, reason = $2
    RETURNING paused_at, paused_by, reason
    """,
)

END_PAUSE = Statement("pause_end", "", "DELETE FROM queue_pause RETURNING paused_at, paused_by, reason")


async def begin_pause(database: Database, paused_by: str, reason: str) -> Pause:
    """Stop claims on every server, until `end_pause`. A second pause replaces who and why."""
    return Pause._make((await database.fetch(BEGIN_PAUSE, paused_by, reason))[0])


async def end_pause(database: Database) -> Pause | None:
    """Allow claims again. Return the pause that ended, or None when there was none."""
    rows = await database.fetch(END_PAUSE)
    database.hints.tell(JOBS)  # wakes the dispatcher of every server
    return Pause._make(rows[0]) if rows else None
