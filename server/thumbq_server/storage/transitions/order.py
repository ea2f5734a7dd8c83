"""Several files of one model in one batch: each is a newer request than those that are named before it."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from thumbq_runtime.process.pieces import pieces
from thumbq_server.domain.job import JobStatus, NewJob
from thumbq_server.domain.same_job import JobKey, key_of
from thumbq_server.storage.postgres.errors import Unavailable
from thumbq_server.storage.postgres.lane import Lane
from thumbq_server.storage.statements import Statement
from thumbq_server.storage.transitions.revivals import renew
from thumbq_server.storage.transitions.revive import revive

# All jobs of the models, with the number of the last request for each.
FIND_MODELS = Statement(
    "order_find_models",
    "model_ids bigint[]",
    """
    SELECT s.id AS job_id, s.model_id, s.model_hash, greatest(s.request_no, l.rerun_request_no) AS request_no, s.status,
           s.id IS NOT DISTINCT FROM i.shown AS shown
      FROM (SELECT model_id, (SELECT job_id FROM thumbnails t WHERE t.model_id = i.model_id) AS shown
              FROM unnest($1::bigint[]) AS i (model_id) OFFSET 0) i
     CROSS JOIN LATERAL (SELECT * FROM job_states WHERE model_id = i.model_id OFFSET 0) s
      LEFT JOIN LATERAL (SELECT rerun_request_no FROM leases WHERE job_id = s.id OFFSET 0) l ON true
    """,
)

_ROUNDS = 20
_ENDED = (JobStatus.COMPLETED, JobStatus.FAILED)


class _Found(NamedTuple):
    """A job of the models, as FIND_MODELS answers."""

    job_id: int
    model_id: int
    model_hash: bytes
    request_no: int
    status: str
    shown: bool

    @property
    def key(self) -> JobKey:
        return self.model_id, self.model_hash


async def put_in_order(lane: Lane, requests: Mapping[JobKey, NewJob]) -> None:
    """Let each of these requests, which were carried out just now, be newer than those before it for its model.

    The statements that carried them out number requests in the order of their locks.
    """
    models = sorted({model_id for model_id, _ in requests})
    for _ in range(_ROUNDS):
        found = await _find(lane, models)
        late = _late(found, requests)
        if not late:
            break
        # A job that has another number meanwhile is looked at again.
        if len(await renew(lane, [(job.job_id, job.request_no) for job in late])) == len(late):
            found = await _find(lane, models)  # one may have ended just before it got its number
            break
    else:
        raise Unavailable("jobs kept changing while they were enqueued")
    last = {request.model_id: request for request in requests.values()}
    # The last file has ended before it was the newest request, and gave way to another one.
    hidden = {job.key for job in found if job.status in _ENDED and not job.shown}
    if again := {
        key_of(job): job._replace(force=False, options_matter=False) for job in last.values() if key_of(job) in hidden
    }:
        await revive(lane, again)


async def _find(lane: Lane, models: Sequence[int]) -> list[_Found]:
    rows = await lane.fetch(FIND_MODELS, models)
    return [job async for piece in pieces(rows) for job in map(_Found._make, piece)]


def _late(found: Sequence[_Found], requests: Mapping[JobKey, NewJob]) -> list[_Found]:
    """Return the jobs that have to be renewed, in the order of the requests."""
    jobs = {job.key: job for job in found}
    newest: dict[int, float] = {}
    for job in found:
        if job.key not in requests:
            newest[job.model_id] = max(job.request_no, newest.get(job.model_id, 0))
    late = []
    for job in [jobs[key] for key in requests if key in jobs]:
        if job.request_no > newest.get(job.model_id, 0):
            newest[job.model_id] = job.request_no
        else:
            newest[job.model_id] = math.inf
            late.append(job)
    return late
