"""A worker on a stream, written by hand: what it sends, and what it must receive."""

import asyncio
import contextlib
import hashlib
from typing import Any

import grpc

from thumbq.v1 import job_pb2, queue_pb2

HASH = hashlib.sha256(b"model").hexdigest()
PICTURE = job_pb2.Result.Complete(thumbnail_path="/thumbs/a.png", size_bytes=1, width=1, height=1)


class Worker:
    """The worker's end of a stream, written by hand."""

    def __init__(self, queue: Any) -> None:
        self.call = queue.StreamJobs()
        self._sending = asyncio.Lock()  # A call takes one message at a time.

    async def send(self, **message: Any) -> None:
        async with self._sending:
            await self.call.write(queue_pb2.StreamJobsRequest(**message))

    async def receives(self, kind: str) -> Any:
        """Return the next message, which must be of this kind."""
        message = await self._read()
        assert message is not grpc.aio.EOF, f"the stream ended instead of {kind}"
        assert message.WhichOneof("message") == kind, message
        return getattr(message, kind)

    async def hello(self, worker_id: str = "w1", session_id: str = "") -> Any:
        await self.send(hello=queue_pb2.StreamJobsRequest.Hello(worker_id=worker_id, session_id=session_id))
        return await self.receives("welcome")

    async def wants(self, count: int) -> None:
        await self.send(credit=queue_pb2.StreamJobsRequest.Credit(add=count))

    async def received(self, number: int) -> None:
        await self.send(received=queue_pb2.StreamJobsRequest.Received(number=number))

    async def holds(self, *jobs: Any) -> None:
        tokens = [job.lease_token for job in jobs]
        await self.send(heartbeat=queue_pb2.StreamJobsRequest.Heartbeat(lease_tokens=tokens))

    async def reports(self, number: int, *results: job_pb2.Result) -> None:
        await self.send(results=queue_pb2.StreamJobsRequest.Results(number=number, results=results))

    async def is_understood(self) -> None:
        """Wait until the server has taken in every message."""
        await self.reports(1000)
        await self.receives("result_acks")

    async def ends(self) -> tuple[grpc.StatusCode, str]:
        with contextlib.suppress(grpc.aio.AioRpcError):  # read() raises a status other than OK
            assert await self._read() is grpc.aio.EOF
        return await self.call.code(), await self.call.details()

    async def _read(self) -> Any:
        """Return the next message that is no keepalive."""
        async with asyncio.timeout(30):
            while (message := await self.call.read()) is not grpc.aio.EOF:
                if message.WhichOneof("message") != "keepalive":
                    return message
            return message


def done(job):
    return job_pb2.Result(lease_token=job.lease_token, complete=PICTURE)


async def enqueue(queue, *model_ids):
    jobs = [queue_pb2.NewJob(model_id=model_id, model_hash=HASH) for model_id in model_ids]
    return (await queue.EnqueueJobs(queue_pb2.EnqueueJobsRequest(jobs=jobs))).jobs


async def state(queue, job_id):
    return (await queue.GetJob(queue_pb2.GetJobRequest(job_id=job_id))).job
