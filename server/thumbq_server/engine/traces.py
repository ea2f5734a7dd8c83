"""The traces of jobs. A queue in which no job was ever traced pays nothing for them."""

from collections.abc import Sequence
from dataclasses import replace
from operator import attrgetter
from typing import TYPE_CHECKING

from thumbq_server.domain.columns import Claimed
from thumbq_server.domain.job import Failure, NewJob
from thumbq_server.engine.wait_spans import after_wait
from thumbq_server.storage import traces
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.lane import Lane

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

_traceparent = attrgetter("traceparent")


class Traces:
    """Gives claimed jobs the traces that their producers named.

    Every method raises Unavailable while PostgreSQL is away.
    """

    def __init__(self, database: Database, tracer: "Tracer | None" = None) -> None:
        self._database = database
        self._tracer = tracer
        # Whether any job was ever traced, as far as this server knows.
        self.exist = False

    async def __call__(self) -> int:
        """Look whether there are traces: at the start, and regularly, since another server may get the first."""
        self.exist = self.exist or await traces.exist(self._database)
        return 0

    def expect(self, jobs: Sequence[NewJob]) -> None:
        """Note that these are enqueued, before one of them can be claimed."""
        self.exist = self.exist or any(map(_traceparent, jobs))

    async def failed(self, lane: Lane, failures: Sequence[Failure]) -> None:
        """Keep the spans of failed attempts, before the jobs are due again."""
        if self.exist:
            await traces.note_attempts(lane, failures)

    async def of_claimed(self, lane: Lane, jobs: Claimed) -> Claimed:
        """Return the jobs with their traces; where the server traces, with a span of how long each has waited."""
        if not self.exist or not jobs:
            return jobs
        traced = replace(jobs, traces=await traces.of_jobs(lane, jobs.job_ids))
        if self._tracer and traced.traces:
            after = [after_wait(self._tracer, job) for job in traced]
            traced = replace(jobs, traces={job.job_id: job.trace for job in after if job.trace})
        return traced
