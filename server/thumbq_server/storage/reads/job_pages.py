"""Pages of jobs, newest first. Each is read from the table that knows the status.

Only a page of Pending jobs reads more than it shows: `ready` has no index on the job, for every claim would pay for it.
"""

from functools import cache

from sqlalchemy import BigInteger, ColumnElement, FromClause, and_, bindparam, literal_column, select, true

from thumbq_server.domain.job import JobStatus
from thumbq_server.storage.reads.compiled import CompiledRead
from thumbq_server.storage.schema.queue import attempts, leases, ready
from thumbq_server.storage.views import job_records

_BELOW = bindparam("below", type_=BigInteger)
_LIMIT = bindparam("limit", type_=BigInteger)
_MODEL_ID = bindparam("model_id", type_=BigInteger)

# For each status: the table to read from, the id in it, and what else must hold.
_SOURCES: dict[JobStatus | None, tuple[FromClause, ColumnElement[int], ColumnElement[bool]]] = {
    None: (job_records, job_records.c.id, true()),
    JobStatus.PENDING: (ready, ready.c.job_id, true()),
    JobStatus.PROCESSING: (leases, leases.c.job_id, true()),
    JobStatus.COMPLETED: (job_records, job_records.c.id, job_records.c.status == literal_column("'Completed'")),
    JobStatus.FAILED: (
        attempts,
        attempts.c.job_id,
        attempts.c.dead & (attempts.c.outcome == literal_column("'Failed'")),
    ),
    JobStatus.CANCELLED: (
        attempts,
        attempts.c.job_id,
        attempts.c.dead & (attempts.c.outcome == literal_column("'Cancelled'")),
    ),
}


@cache
def job_page(status: JobStatus | None, *, of_model: bool) -> CompiledRead:
    """Return the read of a page; its parameters are below, limit and, with `of_model`, model_id."""
    table, job_id, condition = _SOURCES[status]
    source = table if table is job_records else table.join(job_records, job_records.c.id == job_id)
    where = [job_id < _BELOW, condition]
    if of_model:
        where.append(job_records.c.model_id == _MODEL_ID)
    page = select(*job_records.c).select_from(source).where(and_(*where)).order_by(job_id.desc()).limit(_LIMIT)
    name = f"jobs_page_{status.lower() if status else 'all'}{'_of_model' if of_model else ''}"
    return CompiledRead(name, page)


STATEMENTS = {
    (status, of_model): job_page(status, of_model=of_model).statement
    for status in _SOURCES
    for of_model in (False, True)
}
