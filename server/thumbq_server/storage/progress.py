"""How far the jobs under way have come: a narrow table beside `leases`, whose rows count while their lease is there."""

from collections.abc import Sequence

from thumbq_server.domain.job import Token, Verdict
from thumbq_server.domain.progress import HeldLease, JobProgress, Progress, ProgressRecord
from thumbq_server.storage.fragments import columns
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.statements import Statement
from thumbq_server.storage.transitions.verdicts import STATES, State, verdict_on

# Rows are locked in the order of job ids. A server that is late does not overwrite what a newer lease tells.
WRITE = Statement(
    "progress_write",
    "job_ids bigint[], lease_seqs bigint[], fractions double precision[], messages text[]",
    """
    INSERT INTO job_progress AS p (job_id, lease_seq, fraction, message)
    SELECT t.job_id, t.lease_seq, t.fraction, t.message
      FROM unnest($1::bigint[], $2::bigint[], $3::float8[], $4::text[]) AS t (job_id, lease_seq, fraction, message)
     WHERE EXISTS (SELECT FROM leases l WHERE l.job_id = t.job_id AND l.lease_seq = t.lease_seq)
     ORDER BY t.job_id
    ON CONFLICT (job_id) DO UPDATE
       SET lease_seq = excluded.lease_seq, fraction = excluded.fraction, message = excluded.message, reported_at = now()
     WHERE p.lease_seq <= excluded.lease_seq
    """,
)

# Without a number, whatever lease the job has. A worker on a stream has heartbeats, so its lease stays as it is.
SIGN_OF_LIFE = Statement(
    "progress_sign_of_life",
    "job_id bigint, lease_seq bigint, lease_seconds double precision",
    """
    UPDATE leases l
       SET expires_at = CASE WHEN w.session_id = '' THEN greatest(l.expires_at, now() + $3 * interval '1 second')
                             ELSE l.expires_at END
      FROM workers w
     WHERE l.job_id = $1 AND ($2::bigint = 0 OR l.lease_seq = $2) AND w.id = l.session
    RETURNING l.lease_seq, l.session, l.expires_at
    """,
)

READ = Statement(
    "progress_read",
    "job_id bigint, lease_seq bigint",
    "SELECT fraction, message, reported_at FROM job_progress WHERE job_id = $1 AND lease_seq = $2",
)

# The oldest change comes first. The columns stand in the order of JobProgress.
CURRENT = Statement(
    "progress_current",
    "limit bigint",
    """
    SELECT * FROM (
        SELECT l.model_id, l.job_id, l.attempt, p.fraction, p.message, p.reported_at
          FROM job_progress p JOIN leases l ON l.job_id = p.job_id AND l.lease_seq = p.lease_seq
         ORDER BY p.reported_at DESC LIMIT $1) AS newest
     ORDER BY reported_at, job_id
    """,
)

PRUNE = Statement(
    "progress_prune",
    "limit bigint",
    """
    WITH pruned AS (
        DELETE FROM job_progress WHERE job_id = ANY (ARRAY (
            SELECT job_id FROM job_progress p
             WHERE NOT EXISTS (SELECT FROM leases l WHERE l.job_id = p.job_id AND l.lease_seq = p.lease_seq)
             LIMIT $1 FOR UPDATE SKIP LOCKED))
        RETURNING 1
    )
    SELECT count(*) AS count FROM pruned
    """,
)


async def write(database: Database, history: int, told: Sequence[Progress]) -> None:
    """Keep what each of these leases tells, as far as it is still there; one entry for a job.

    Raises Unavailable where the history is another one than at this version: its leases are others.
    """
    rows = [(entry.token.job_id, entry.token.lease_seq, entry.fraction, entry.message) for entry in told]
    await database.fetch(WRITE, *columns(rows, 4), history=history)


async def sign_of_life(database: Database, history: int, token: Token, seconds: float) -> HeldLease | Verdict:
    """Let the lease last at least this many seconds from now. Return it, or why it is not there.

    Raises Unavailable as `write` does.
    """
    rows = await database.fetch(SIGN_OF_LIFE, *token, seconds, history=history)
    if rows:
        return HeldLease._make(rows[0])
    states = await database.fetch(STATES, [token.job_id], history=history)
    return verdict_on(token, State._make(states[0]) if states else None, done=None)


async def read(database: Database, job_id: int, lease_seq: int) -> ProgressRecord | None:
    """Return how far the job has come under this lease, None while its worker has told nothing."""
    rows = await database.fetch(READ, job_id, lease_seq)
    return ProgressRecord._make(rows[0]) if rows else None


async def current(database: Database, limit: int) -> list[JobProgress]:
    """Return how far the jobs under way have come: those that changed last, the oldest change first."""
    return [JobProgress._make(row) for row in await database.fetch(CURRENT, limit)]


async def prune(database: Database, limit: int) -> int:
    """Delete up to `limit` rows whose lease is gone. Return how many."""
    count: int = (await database.fetch(PRUNE, limit))[0]["count"]
    return count
