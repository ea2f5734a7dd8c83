"""thumbq's driver: it uses the SDK as an application does."""

import asyncio
import os
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import grpc
import uvloop

from bench.drivers import program
from bench.drivers.meter import Meter
from bench.drivers.program import Options
from thumbq import Job, NewJob, Producer, Thumbnail, Worker
from thumbq.v1.queue_pb2 import EnqueueJobRequest
from thumbq.v1.queue_pb2_grpc import QueueServiceStub

_THUMBNAIL = Thumbnail(path="/var/lib/thumbs/de/bb/debbbb1c", size_bytes=45678, width=512, height=512)
_MOST_AT_ONCE = 100


class ThumbqDriver:
    """A driver whose jobs carry the time of the call in the first 16 digits of the model's hash.

    `unary`: a single job is enqueued by a call of its own, as by clients that do not know the producer's stream.
    """

    def __init__(self, address: str, *, unary: bool) -> None:
        self._address = address
        self._unary = unary

    async def __aenter__(self) -> Self:
        self._producer = await Producer(self._address).__aenter__()
        self._channel = grpc.aio.insecure_channel(self._address)
        self._stub = QueueServiceStub(self._channel)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._producer.__aexit__(kind, error, trace)
        await self._channel.close()

    async def setup(self) -> None:
        """Do nothing: the server makes its tables."""

    async def batch(self, numbers: Sequence[int]) -> None:
        """Enqueue with one EnqueueJobs call."""
        await self._producer.enqueue([_job(number, 0) for number in numbers])

    async def one(self, number: int, called_ns: int) -> None:
        """Enqueue one job. Those of calls that come together travel together, except with `unary`."""
        job = _job(number, called_ns)
        if self._unary:
            await self._stub.EnqueueJob(EnqueueJobRequest(model_id=job.model_id, model_hash=job.model_hash))
        else:
            await self._producer.enqueue_one(job)

    async def work(self, meter: Meter, options: Options) -> None:
        """Run `streams` workers with `credits` each in this process.

        Without `columns` each job comes as a message, as it does to clients that know nothing of columns.
        """

        async def handle(job: Job) -> Thumbnail:
            meter.count(int(job.model_hash[:16], 16))
            return _THUMBNAIL

        window = options["credits"]
        concurrency = min(window, options.get("concurrency", _MOST_AT_ONCE))
        workers = [
            Worker(self._address, worker_id=f"bench-{index}", concurrency=concurrency, prefetch=window - concurrency)
            for index in range(options.get("streams", 1))
        ]
        for worker in workers:
            worker._hello.columns = options.get("columns", True)  # noqa: SLF001 - workers have no option for it
        await asyncio.gather(*(worker.run(handle, handle_signals=False) for worker in workers))


def _job(number: int, called_ns: int) -> NewJob:
    return NewJob(model_id=number, model_hash=f"{called_ns:016x}{number:048x}")


if __name__ == "__main__":
    uvloop.run(program.run(ThumbqDriver(program.target(), unary="BENCH_UNARY" in os.environ)))
