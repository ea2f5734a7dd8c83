"""Works a queue dry with a handler, in the caller's own event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import NamedTuple, cast

from thumbq.connection import open_channel
from thumbq.outcome import JobReleased, Thumbnail
from thumbq.results import message
from thumbq.v1.job_pb2 import Job
from thumbq.v1.queue_pb2 import DequeueJobRequest, ReportResultsRequest
from thumbq.v1.queue_pb2_grpc import QueueServiceStub
from thumbq.working.handler import BlockingHandler, Handler, as_failure, is_async
from thumbq.working.kinds import check_handlers
from thumbq.working.threads import raisable


class Drained(NamedTuple):
    """A job, and how its handler ended: with a picture or with an exception."""

    job: Job
    outcome: Thumbnail | BaseException


async def drain(address: str, handler: Handler | Mapping[str, Handler], *, worker_id: str = "drain") -> list[Drained]:
    """Run the handler on each job that is due, one after another, and report the results as a worker does.

    With a handler for each kind, jobs of these kinds are taken; with one alone, Models. Returns when no job is due. A
    job that failed and is due again after a back-off stays in the queue; a job that the handler released is not asked
    for again, and raises RuntimeError, since it would come back without an end. Raises ValueError for a result that the
    queue refuses.
    """
    handlers = handler if isinstance(handler, Mapping) else {"Model": handler}
    check_handlers(handlers)
    request = DequeueJobRequest(worker_id=worker_id, kinds=handlers)
    drained: list[Drained] = []
    released: set[int] = set()
    async with open_channel(address) as channel:
        queue = QueueServiceStub(channel)
        while (response := await queue.DequeueJob(request)).HasField("job"):
            job = response.job
            outcome = JobReleased() if job.id in released else await _run(handlers[job.asset_type or "Model"], job)
            answer = await queue.ReportResults(_report(job, outcome))
            if job.id in released:
                raise RuntimeError(f"job {job.id} was released, and is due again")
            if answer.exceptions:
                raise ValueError(f"the queue refused the result of job {job.id}: {answer.exceptions[0].message}")
            if isinstance(outcome, JobReleased):
                released.add(job.id)
            drained.append(Drained(job, outcome))
    return drained


async def _run(handler: Handler, job: Job) -> Thumbnail | BaseException:
    try:
        outcome: object = (
            await handler(job)
            if is_async(handler)
            else await asyncio.to_thread(_call, cast("BlockingHandler", handler), job)
        )
    except Exception as error:  # noqa: BLE001 - it is how the job ends
        return error
    return outcome if isinstance(outcome, Thumbnail) else as_failure(job, outcome)


def _call(handler: BlockingHandler, job: Job) -> object:
    try:
        return handler(job)
    except BaseException as error:  # noqa: BLE001 - it is how the job ends
        raise raisable(error) from None


def _report(job: Job, outcome: Thumbnail | BaseException) -> ReportResultsRequest:
    """Return the report that a worker sends."""
    if isinstance(outcome, JobReleased):
        ending = None
    else:
        ending = outcome if isinstance(outcome, Thumbnail) else as_failure(job, outcome)
    built, _ = message([(job.lease_token, ending)], columns=False)
    return ReportResultsRequest(results=built.results.results)
