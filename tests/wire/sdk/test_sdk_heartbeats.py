"""What the worker names in its heartbeats."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from google.protobuf.duration_pb2 import Duration

from tests.support.service.between import server_between
from tests.support.waiting import eventually
from tests.wire.sdk.sdk import PICTURE, working
from thumbq import Job, Thumbnail
from thumbq.v1 import queue_pb2_grpc
from thumbq.v1.queue_pb2 import StreamJobsResponse as Message

MOST = 10_000  # tokens that a server takes in a heartbeat


class Slow(queue_pb2_grpc.QueueServiceServicer):
    """A server that has a job for each credit, and acknowledges the results of the first ones late."""

    def __init__(self, *_: Any) -> None:
        self.sizes: list[int] = []
        self.named: set[str] = set()
        self.acknowledges = asyncio.Event()
        self._jobs = 0

    async def StreamJobs(self, requests: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        unanswered: list[int] = []
        async for request in requests:
            match request.WhichOneof("message"):
                case "hello":
                    interval = Duration(seconds=2)
                    yield Message(welcome=Message.Welcome(session_id="1", heartbeat_interval=interval))
                case "credit":
                    yield self._next(request.credit.add)
                case "results":
                    unanswered.append(request.results.number)
                case "heartbeat":
                    self.sizes.append(len(request.heartbeat.lease_tokens))
                    self.named.update(request.heartbeat.lease_tokens)
                    yield Message(keepalive=Message.Keepalive())
            while unanswered and self.acknowledges.is_set():
                yield Message(result_acks=Message.ResultAcks(number=unanswered.pop(0)))

    def _next(self, credit: int) -> Message:
        ids = range(self._jobs + 1, self._jobs + 1 + credit)
        self._jobs += credit
        jobs = [Job(id=number, lease_token=f"{number}-1") for number in ids]
        return Message(jobs=Message.Jobs(number=self._jobs, jobs=jobs))


async def test_a_worker_that_holds_more_than_a_heartbeat_names_sends_several():
    slow, is_over = Slow(), asyncio.Event()

    async def handler(job: Job) -> Thumbnail:
        if job.id > MOST // 2:
            await is_over.wait()
        return PICTURE

    async def all_are_named() -> bool:
        return len(slow.named) >= MOST * 3 // 2

    async with server_between("127.0.0.1:1", lambda _: slow) as server, working(server, handler, concurrency=MOST):
        await eventually(all_are_named, 60)
        slow.acknowledges.set()
        is_over.set()
    assert max(slow.sizes) <= MOST
