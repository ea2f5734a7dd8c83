"""A worker on a stream, written by hand: what it sends, and what it must receive."""

import asyncio
import contextlib
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import grpc

from thumbq.v1 import job_pb2, queue_pb2

HASH = hashlib.sha256(b"model").hexdigest()
PICTURE = job_pb2.Result.Complete(thumbnail_path="/thumbs/a.png", size_bytes=1, width=1, height=1)


class Worker:
    """The worker's end of a stream, written by hand. With `columns` it takes jobs and reports successes as columns."""

    def __init__(
        self, queue: Any, *, columns: bool = False, kinds: Sequence[str] = (), acks_with_jobs: bool = False
    ) -> None:
        self.call = queue.StreamJobs()
        self._columns = columns
        self._kinds = kinds
        self._acks_with_jobs = acks_with_jobs
        self._sending = asyncio.Lock()  # A call takes one message at a time.

    async def send(self, **message: Any) -> None:
        async with self._sending:
            await self.call.write(queue_pb2.StreamJobsRequest(**message))

    async def receives(self, kind: str) -> Any:
        """Return the next message, which must be of this kind."""
        message = await self.any()
        assert message is not grpc.aio.EOF, f"the stream ended instead of {kind}"
        assert message.WhichOneof("message") == kind, message
        if kind == "jobs" and self._columns:
            assert not message.jobs.jobs
            return queue_pb2.StreamJobsResponse.Jobs(
                number=message.jobs.number,
                jobs=jobs_in_columns(message.jobs.columns),
                acknowledged=message.jobs.acknowledged,
            )
        return getattr(message, kind)

    async def hello(self, worker_id: str = "w1", session_id: str = "") -> Any:
        hello = queue_pb2.StreamJobsRequest.Hello(
            worker_id=worker_id,
            session_id=session_id,
            columns=self._columns,
            kinds=self._kinds,
            acks_with_jobs=self._acks_with_jobs,
        )
        await self.send(hello=hello)
        welcome = await self.receives("welcome")
        assert welcome.columns is self._columns
        assert welcome.kinds is bool(self._kinds)
        return welcome

    async def wants(self, count: int) -> None:
        await self.send(credit=queue_pb2.StreamJobsRequest.Credit(add=count))

    async def received(self, number: int) -> None:
        await self.send(received=queue_pb2.StreamJobsRequest.Received(number=number))

    async def holds(self, *jobs: Any) -> None:
        tokens = [job.lease_token for job in jobs]
        await self.send(heartbeat=queue_pb2.StreamJobsRequest.Heartbeat(lease_tokens=tokens))

    async def reports(self, number: int, *results: job_pb2.Result) -> None:
        message = queue_pb2.StreamJobsRequest.Results(number=number)
        completed = [result for result in results if self._columns and result.HasField("complete")]
        message.results.extend(result for result in results if result not in completed)
        message.completed.extend(completed_columns(completed))
        await self.send(results=message)

    async def is_understood(self) -> None:
        """Wait until the server has taken in every message."""
        await self.reports(1000)
        await self.receives("result_acks")

    async def ends(self) -> tuple[grpc.StatusCode, str]:
        with contextlib.suppress(grpc.aio.AioRpcError):  # read() raises a status other than OK
            assert await self.any() is grpc.aio.EOF
        return await self.call.code(), await self.call.details()

    async def any(self) -> Any:
        """Return the next message that is no keepalive."""
        async with asyncio.timeout(30):
            while (message := await self.call.read()) is not grpc.aio.EOF:
                if message.WhichOneof("message") != "keepalive":
                    return message
            return message


def jobs_in_columns(columns: queue_pb2.JobColumns) -> Iterator[job_pb2.Job]:
    """Yield the jobs as the messages that they would have been."""

    def entry(column: Sequence[Any], place: int) -> Any:
        return column[place] if len(column) > 1 else column[0]

    for place, (job_id, model_id) in enumerate(zip(columns.ids, columns.model_ids, strict=True)):
        job = job_pb2.Job(
            id=job_id,
            model_id=model_id,
            model_hash=columns.model_hashes[32 * place :][:32].hex(),
            status=job_pb2.JOB_STATUS_PROCESSING,
            attempt_count=entry(columns.attempt_counts, place),
            updated_at=columns.claimed_at,
            asset_type=entry(columns.asset_types, place) if columns.asset_types else "Model",
            priority=entry(columns.priorities, place),
            max_attempts=entry(columns.max_attempts, place),
            lease_token=f"{job_id}-{columns.lease}",
            lease_expires_at=columns.lease_expires_at,
        )
        job.created_at.FromMicroseconds(entry(columns.created_at, place))
        if place in columns.with_options:
            job.options.update(json.loads(columns.options[list(columns.with_options).index(place)]))
        yield job


def completed_columns(results: Iterable[job_pb2.Result]) -> Iterator[queue_pb2.CompletedColumns]:
    """Yield successes as columns, lease by lease."""
    leases = [(result.lease_token.partition("-"), result.complete) for result in results]
    for lease in dict.fromkeys(token[2] for token, _ in leases):
        columns = queue_pb2.CompletedColumns(lease=lease)
        for (job_id, _, its_lease), picture in leases:
            if its_lease == lease:
                columns.job_ids.append(int(job_id))
                columns.thumbnail_paths.append(picture.thumbnail_path)
                columns.sizes_bytes.append(picture.size_bytes)
                columns.widths.append(picture.width)
                columns.heights.append(picture.height)
        yield columns


def done(job):
    return job_pb2.Result(lease_token=job.lease_token, complete=PICTURE)


async def enqueue(queue, *model_ids):
    jobs = [queue_pb2.NewJob(model_id=model_id, model_hash=HASH) for model_id in model_ids]
    return (await queue.EnqueueJobs(queue_pb2.EnqueueJobsRequest(jobs=jobs))).jobs


async def state(queue, job_id):
    return (await queue.GetJob(queue_pb2.GetJobRequest(job_id=job_id))).job
