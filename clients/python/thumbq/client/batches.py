"""Many jobs at once: as columns where these hold all that the jobs say, and else as messages."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence
from itertools import repeat
from time import monotonic
from typing import NamedTuple

from thumbq.client.asking import asking
from thumbq.client.calls import Calls
from thumbq.client.errors import InvalidJob, Unsupported
from thumbq.client.kinds import check_kinds_known
from thumbq.client.pressure import pause_of
from thumbq.v1.queue_pb2 import EnqueueColumnsRequest, EnqueueJobsRequest, EnqueueOutcome, NewJob, NewJobColumns

JOBS_PER_CALL = 10_000
# A call has less than the 4 MiB that the server takes. A job has a tag and a length before it.
_BYTES_PER_CALL = 4_000_000
_BEFORE_JOB = 8
_HASH_DIGITS = 64
# Bytes of a field in a message: its tag, and for the hash also its length.
_OF_HASH, _OF_NUMBER = 2 + _HASH_DIGITS, 2


class Enqueued(NamedTuple):
    """The answer to a NewJob: the job's id, and whether it was created, existed, or was reset."""

    job_id: int
    outcome: EnqueueOutcome.ValueType


class Batches:
    """Enqueues up to JOBS_PER_CALL jobs with a call, or with several where they are large.

    A server that does not know columns gets messages.
    """

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._columns = True
        # No batch leaves before this moment: the queue fills up.
        self._not_before = 0.0

    async def enqueue(self, jobs: Sequence[NewJob]) -> list[Enqueued]:
        """Enqueue the jobs, and return the answers in their order. A malformed job refuses its call. Raises InvalidJob.

        The pause that the last answer asked for comes first, also between two calls.
        """
        await self._pause()
        with asking(jobs) as sent:
            return await self._enqueue(sent)

    async def _enqueue(self, jobs: Sequence[NewJob]) -> list[Enqueued]:
        if self._columns and (columns := columns_of(jobs)):
            try:
                return await self._as_columns(columns)
            except Unsupported:
                self._columns = False
        enqueued: list[Enqueued] = []
        for some in _in_calls(jobs):
            await self._pause()
            try:
                enqueued += await self._as_messages(some)
            except InvalidJob as refusal:
                raise InvalidJob(_in_list(str(refusal), len(enqueued))) from None
        return enqueued

    async def _pause(self) -> None:
        await asyncio.sleep(self._not_before - monotonic())

    async def _as_columns(self, columns: NewJobColumns) -> list[Enqueued]:
        request = EnqueueColumnsRequest(columns=columns)
        response = await self._calls.call(lambda stubs: stubs.queue.EnqueueColumns, request, invalid=InvalidJob)
        outcomes = response.outcomes if len(response.outcomes) > 1 else repeat(response.outcomes[0])
        self._not_before = monotonic() + pause_of(response)
        return list(map(Enqueued._make, zip(response.job_ids, outcomes, strict=False)))

    async def _as_messages(self, jobs: Sequence[NewJob]) -> list[Enqueued]:
        request = EnqueueJobsRequest(jobs=jobs)
        response = await self._calls.call(lambda stubs: stubs.queue.EnqueueJobs, request, invalid=InvalidJob)
        check_kinds_known(jobs, response.jobs)
        self._not_before = monotonic() + pause_of(response)
        return [Enqueued(job.job_id, job.outcome) for job in response.jobs]


def _in_calls(jobs: Sequence[NewJob]) -> Iterator[Sequence[NewJob]]:
    """Yield the jobs of one call after another."""
    first = size = 0
    for place, job in enumerate(jobs):
        more = job.ByteSize() + _BEFORE_JOB
        if size + more > _BYTES_PER_CALL and place > first:
            yield jobs[first:place]
            first, size = place, 0
        size += more
    yield jobs[first:]


def _in_list(refusal: str, before: int) -> str:
    """Return a refusal, which counts the jobs of its call, with the place of the job in the list."""
    return re.sub(r"^jobs\[(\d+)\]", lambda found: f"jobs[{before + int(found[1])}]", refusal)


def columns_of(jobs: Sequence[NewJob]) -> NewJobColumns | None:
    """Return the jobs as columns; None when one says what these do not hold, or is malformed."""
    model_ids = [job.model_id for job in jobs]
    priorities = [job.priority for job in jobs]
    max_attempts = [job.max_attempts for job in jobs if job.HasField("max_attempts")]
    if min(model_ids) < 1 or len(max_attempts) not in (0, len(jobs)):
        return None
    # A look at each field costs more than the whole call. With 64 digits, a job that says nothing else has just this
    # size. Else it is larger, or its hash is shorter; then the digits of all are too few.
    beside = _OF_HASH + (_OF_NUMBER if max_attempts else 0)
    for job, model_id, priority in zip(jobs, model_ids, priorities, strict=True):
        size = beside + 1 + (model_id.bit_length() + 6) // 7
        if job.ByteSize() != (size + _OF_NUMBER if priority else size):
            return None
    digits = "".join([job.model_hash for job in jobs])
    if len(digits) != len(jobs) * _HASH_DIGITS:
        return None
    try:
        model_hashes = bytes.fromhex(digits)
    except ValueError:
        return None
    if 2 * len(model_hashes) != len(digits):  # fromhex passes over spaces
        return None
    return NewJobColumns(
        model_ids=model_ids,
        model_hashes=model_hashes,
        priorities=_one_or_all(priorities),
        max_attempts=_one_or_all(max_attempts),
    )


def _one_or_all(column: Sequence[int]) -> Sequence[int]:
    return column[:1] if column and column.count(column[0]) == len(column) else column
