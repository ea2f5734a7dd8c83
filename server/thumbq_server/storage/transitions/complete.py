"""The end of an attempt with a picture. One guarded statement.

It deletes the lease where job_id *and* lease_seq are its own, and only what that returns goes further. No row is a
named verdict, never an error.
"""

from collections.abc import Sequence

from thumbq_server.domain.job import Completion, JobStatus, Reported, Token, Verdict
from thumbq_server.storage.fragments import MINE, WAKE_JOBS, announce, columns, rank
from thumbq_server.storage.postgres.lane import Lane
from thumbq_server.storage.statements import Statement
from thumbq_server.storage.transitions.verdicts import State, states_of, verdict_on

_STALE = Reported(Verdict.STALE, 0)

_SHOW_PICTURE = """ON CONFLICT (model_id) DO UPDATE SET job_id = excluded.job_id, request_no = excluded.request_no,
               attempt = excluded.attempt, status = 'Ready', error_message = NULL, next_attempt_at = NULL,
               path = excluded.path, size_bytes = excluded.size_bytes, width = excluded.width, height = excluded.height,
               model_hash = excluded.model_hash, processed_at = now()
         WHERE t.request_no <= excluded.request_no
        RETURNING model_id, job_id, attempt"""

COMPLETE = Statement(
    "complete",
    "job_ids bigint[], lease_seqs integer[], paths text[], sizes bigint[], widths integer[], heights integer[]",
    f"""
    WITH input AS (
        SELECT * FROM unnest($1::bigint[], $2::int[], $3::text[], $4::bigint[], $5::int[], $6::int[])
            AS i (job_id, lease_seq, path, size_bytes, width, height)
    ), ended AS (
        DELETE FROM leases l USING input i WHERE {MINE} AND l.rerun_request_no IS NULL
        RETURNING l.job_id, l.lease_seq, l.attempt, i.lease_seq AS named_seq, i.path, i.size_bytes, i.width, i.height
    ), recorded AS (
        UPDATE jobs j SET outcome = 'Completed', attempt_count = e.attempt, lease_seq = e.lease_seq,
               error_message = NULL, finished_at = now(), updated_at = now()
          FROM ended e WHERE j.id = e.job_id
        RETURNING e.*, j.model_id, j.model_hash, j.request_no, j.created_at
    ), shown AS (
        INSERT INTO thumbnails AS t (model_id, job_id, request_no, attempt, status, path, size_bytes, width, height,
                                     model_hash, created_at)
        SELECT DISTINCT ON (model_id) model_id, job_id, request_no, attempt, 'Ready', path, size_bytes, width, height,
               model_hash, created_at
          FROM recorded ORDER BY model_id, request_no DESC
        {_SHOW_PICTURE}
    ), {announce("Ready", "shown", completed="SELECT count(*) FROM recorded")}
    SELECT array_agg(job_id) AS job_ids, array_agg(named_seq) AS named_seqs, array_agg(model_id) AS model_ids
      FROM recorded
    """,
)

# A lease that was marked by an enqueue with force: the picture counts, and the job starts again.
COMPLETE_AND_RERUN = Statement(
    "complete_and_rerun",
    "job_id bigint, lease_seq integer, path text, size_bytes bigint, width integer, height integer",
    f"""
    WITH ended AS (
        DELETE FROM leases l WHERE l.job_id = $1 AND l.lease_seq = $2 AND l.rerun_request_no IS NOT NULL
        RETURNING l.job_id, l.lease_seq, l.attempt, l.rerun_request_no
    ), before AS (
        SELECT e.*, j.model_id, j.model_hash, j.request_no, j.priority, j.created_at
          FROM ended e JOIN jobs j ON j.id = e.job_id FOR UPDATE OF j
    ), recorded AS (
        UPDATE jobs j SET request_no = greatest(j.request_no, e.rerun_request_no), attempt_count = 0,
               lease_seq = e.lease_seq,
               error_message = NULL, updated_at = now()
          FROM ended e WHERE j.id = e.job_id
    ), again AS (
        INSERT INTO ready (job_id, rank, run_at, attempt, lease_seq)
        SELECT job_id, {rank("now()", "priority")}, now(), 0, lease_seq FROM before
    ), shown AS (
        INSERT INTO thumbnails AS t (model_id, job_id, request_no, attempt, status, path, size_bytes, width, height,
                                     model_hash, created_at)
        SELECT model_id, job_id, request_no, attempt, 'Ready', $3, $4, $5, $6, model_hash, created_at FROM before
        {_SHOW_PICTURE}
    ), {announce("Ready", "shown", wake=WAKE_JOBS)}
    SELECT model_id FROM before
    """,
)


async def complete(lane: Lane, items: Sequence[Completion]) -> list[Reported]:
    """End attempts with a picture. The answers are in the order of `items`."""
    items_by_job = sorted(items)  # concurrent batches lock in one order, or they deadlock
    (row,) = await lane.fetch(COMPLETE, *columns(items_by_job, 6))
    ended = (
        dict(zip(zip(row["job_ids"], row["named_seqs"], strict=True), row["model_ids"], strict=True)) if row[0] else {}
    )
    answers: list[Reported] = []
    unclear: list[int] = []
    for index, item in enumerate(items):
        model_id = ended.pop((item.job_id, item.lease_seq), None)
        answers.append(_STALE if model_id is None else Reported(Verdict.OK, model_id))
        if model_id is None:
            unclear.append(index)
    if unclear:
        states = await states_of(lane, [items[index].job_id for index in unclear])
        for index in unclear:
            answers[index] = await _complete_unclear(lane, items[index], states.get(items[index].job_id))
    return answers


async def _complete_unclear(lane: Lane, item: Completion, state: State | None) -> Reported:
    if state is not None and state.status is JobStatus.PROCESSING and item.lease_seq in {0, state.lease_seq}:
        rows = await lane.fetch(COMPLETE_AND_RERUN, *item._replace(lease_seq=state.lease_seq))
        if rows:
            return Reported(Verdict.OK, rows[0]["model_id"])
    verdict = verdict_on(Token(item.job_id, item.lease_seq), state, done=JobStatus.COMPLETED)
    return Reported(verdict, state.model_id if state else 0)
