"""The queue as a whole: the counters, and the jobs under way."""

from thumbq_server.domain.records import Counters, Rendering, Snapshot
from thumbq_server.storage.fragments import COUNTED_IN, COUNTERS
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.statements import Statement

# The columns stand in the order of Counters, then the time.
COUNT = Statement(
    "snapshot_count",
    "",
    f"SELECT {COUNTERS}, now() AS timestamp FROM {COUNTED_IN}",
)

# The columns stand in the order of Rendering.
RENDERING = Statement(
    "snapshot_rendering",
    "",
    """
    SELECT l.model_id, l.job_id, w.worker_id, l.attempt, l.claimed_at
      FROM (SELECT * FROM leases ORDER BY claimed_at DESC LIMIT 100) l JOIN workers w ON w.id = l.session
     ORDER BY l.claimed_at DESC
    """,
)


async def take_snapshot(database: Database) -> Snapshot:
    """Return the counters, and up to 100 jobs under way."""
    ((*counters, timestamp),) = await database.fetch(COUNT)
    rendering = [Rendering._make(row) for row in await database.fetch(RENDERING)]
    return Snapshot(Counters._make(counters), rendering, timestamp)
