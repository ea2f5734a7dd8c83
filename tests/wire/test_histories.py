"""A backup is restored under running servers: a new history, told to everybody once."""

from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import asyncpg
import grpc
import pytest

from tests.support.service.server import running_server, status_of
from tests.support.service.subscribers import StreamSubscriber, when_it_is_back
from tests.wire.worker import PICTURE, Worker, done, enqueue
from thumbq.v1 import job_pb2, queue_pb2, queue_pb2_grpc

STALE = (grpc.StatusCode.FAILED_PRECONDITION, "The lease on this job is no longer yours.")


class Backup:
    """A copy of the database, as it was, that can be put in the place of the present one."""

    def __init__(self, server: asyncpg.Connection, name: str) -> None:
        self._server = server
        self._name = name
        self._copy = f"{name}_backup"

    async def take(self) -> None:
        await self._cut_off(self._name)
        await self._server.execute(f"CREATE DATABASE {self._copy} TEMPLATE {self._name}")
        await self._server.execute(f"ALTER DATABASE {self._name} ALLOW_CONNECTIONS true")

    async def restore(self) -> None:
        """Put the copy in the place of the database, as a restored dump comes: as another database of its name."""
        await self._server.execute(f"DROP DATABASE {self._name} WITH (FORCE)")
        await self._server.execute(f"ALTER DATABASE {self._copy} RENAME TO {self._name}")

    async def _cut_off(self, name: str) -> None:
        await self._server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        await self._server.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = $1", name
        )


@pytest.fixture
async def backup(postgres: str, database_url: str) -> AsyncIterator[Backup]:
    server = await asyncpg.connect(postgres)
    yield Backup(server, urlsplit(database_url).path[1:])
    await server.close()


async def enqueued(queue, *model_ids):
    return await when_it_is_back(lambda: enqueue(queue, *model_ids))


async def claimed(queue, worker_id):
    return (await when_it_is_back(lambda: queue.DequeueJob(queue_pb2.DequeueJobRequest(worker_id=worker_id)))).job


async def test_a_restored_backup_is_one_reset_for_every_subscriber_and_no_lease_from_before_counts(
    database_url, backup
):
    async with (
        running_server(database_url) as first,
        running_server(database_url) as second,
        grpc.aio.insecure_channel(first) as channel,
        grpc.aio.insecure_channel(second) as other_channel,
    ):
        queue = queue_pb2_grpc.QueueServiceStub(channel)
        await enqueued(queue, 1)
        await backup.take()
        await enqueued(queue, *range(100, 150))
        subscribers = [StreamSubscriber(channel), StreamSubscriber(other_channel)]
        async with subscribers[0].reading(), subscribers[1].reading():
            for subscriber in subscribers:
                await subscriber.is_there()
            await enqueued(queue, 150)
            for subscriber in subscribers:
                await subscriber.sees(150)
            before = [await claimed(queue, "w1") for _ in range(3)]
            worker = Worker(queue)
            await worker.hello()
            await backup.restore()

            # The reset comes with the present cursor; what follows it is seen.
            await enqueued(queue, 200)
            for subscriber in subscribers:
                await subscriber.is_reset()
            await enqueued(queue, *range(201, 260))
            for subscriber in subscribers:
                await subscriber.sees(259)
                assert set(range(201, 260)) <= set(subscriber.models)
                assert subscriber.resets == ["OTHER_LOG"]
        # The numbers of the jobs are given again: the tokens from before name jobs of other models.
        after = [await claimed(queue, "w2") for _ in range(3)]
        assert {job.id for job in before} & {job.id for job in after}
        for job in before:
            request = queue_pb2.CompleteJobRequest(
                job_id=job.id, thumbnail_path="/a.png", size_bytes=1, width=1, height=1, lease_token=job.lease_token
            )
            assert await status_of(queue.CompleteJob(request)) == STALE
            results = queue_pb2.ReportResultsRequest(results=[done(job)])
            [exception] = (await queue.ReportResults(results)).exceptions
            assert (exception.lease_token, exception.code) == (job.lease_token, queue_pb2.RESULT_CODE_STALE)
            assert exception.job_id == 0
        for job in after:
            results = queue_pb2.ReportResultsRequest(
                results=[job_pb2.Result(lease_token=job.lease_token, complete=PICTURE)]
            )
            assert not (await queue.ReportResults(results)).exceptions
        assert (await worker.ends())[0] is grpc.StatusCode.ABORTED
