"""The history of a job: every attempt that has ended, by whom it was made and how it ended."""

from thumbq_server.domain.job import AttemptOutcome
from thumbq_server.domain.records import AttemptRecord
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.statements import Statement

# The columns stand in the order of AttemptRecord.
READ_HISTORY = Statement(
    "history_read",
    "job_id bigint",
    """
    SELECT a.attempt, a.lease_seq, w.worker_id, a.claimed_at, a.ended_at, a.outcome, a.error_message, a.path,
           a.next_attempt_at
      FROM attempts a LEFT JOIN workers w ON w.id = a.session
     WHERE a.job_id = $1 ORDER BY a.lease_seq
    """,
)


async def read_history(database: Database, job_id: int) -> list[AttemptRecord]:
    """Return the ended attempts of a job, the first one first; none for an unknown job."""
    records = map(AttemptRecord._make, await database.fetch(READ_HISTORY, job_id))
    return [record._replace(outcome=AttemptOutcome(record.outcome)) for record in records]
