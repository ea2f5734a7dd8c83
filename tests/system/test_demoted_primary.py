"""The primary is demoted under a running service, and another one takes over: the service moves to it by itself.

Replication is synchronous, so nothing that was acknowledged gets lost.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import pytest

from tests.support.network.http_client import Client, digest
from tests.support.postgres.standby import Pair, ask, follow, promote
from tests.support.service.gateway import running_gateway
from tests.support.service.server import running_server, status_of
from tests.support.service.subscribers import StreamSubscriber
from tests.support.waiting import eventually
from tests.wire.worker import enqueue
from thumbq.v1 import queue_pb2_grpc
from thumbq_launcher.postgres.embedded import EmbeddedPostgres

CONNECTIONS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'thumbq'"


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    async with Pair(tmp_path) as pair:
        yield pair


async def becomes(postgres: EmbeddedPostgres, setting: str, value: str) -> None:
    """Change a setting of a PostgreSQL that runs, also of a standby."""
    await ask(postgres, f"ALTER SYSTEM SET {setting} = '{value}'")
    await ask(postgres, "SELECT pg_reload_conf()")


async def waits_for_its_standby(primary: EmbeddedPostgres) -> None:
    await becomes(primary, "synchronous_standby_names", "*")

    async def is_synchronous() -> bool:
        return bool(await ask(primary, "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"))

    await eventually(is_synchronous, timeout=60)


class Service:
    """A server and a gateway, their producers, and a subscriber that stays."""

    def __init__(self, client: Client, channel: grpc.aio.Channel) -> None:
        self._client = client
        self._queue = queue_pb2_grpc.QueueServiceStub(channel)
        self.subscriber = StreamSubscriber(channel)

    async def enqueues(self, model_id: int) -> int:
        """Enqueue a job as soon as that is possible. Return its id."""
        job = {"modelId": model_id, "modelHash": digest(model_id)}

        async def enqueued() -> int:
            answer = await self._client.post("/api/thumbnail-jobs", job)
            assert answer.status in {200, 503}, answer.text
            return int(answer.json["jobId"]) if answer.status == 200 else 0

        job_id: int = await eventually(enqueued, timeout=60)
        return job_id

    async def does(self, model_id: int) -> int:
        """Enqueue a job, and see it arrive. Return its id."""
        job_id = await self.enqueues(model_id)
        await self.subscriber.sees(model_id)
        return job_id

    async def moves(self, model_id: int, *, resets: int) -> int:
        """Enqueue a job at the new primary, and see a later one arrive. Return the id of the first.

        Its own event may come before the subscriber's place in the new log. The reset tells of all of these.
        """
        job_id = await self.enqueues(model_id)
        await self.subscriber.is_reset(resets)
        await self.does(10 * model_id)
        return job_id

    async def keeps(self, job_id: int) -> None:
        assert (await self._client.job(job_id))["status"] == "Pending"

    async def is_away(self) -> None:
        """Check the answers that callers get while no host takes writes."""

        async def says_why() -> bool:
            answer = await self._client.get("/readyz")
            return answer.status == 503 and "the database is read-only" in answer.json["message"]

        await eventually(says_why, timeout=60)
        assert (await status_of(enqueue(self._queue, 99)))[0] is grpc.StatusCode.UNAVAILABLE
        answer = await self._client.post("/api/thumbnail-jobs", {"modelId": 99, "modelHash": digest(99)})
        assert (answer.status, "Retry-After" in answer.headers) == (503, True)

    async def is_ready(self) -> None:
        async def ready() -> bool:
            return (await self._client.get("/readyz")).status == 200

        await eventually(ready, timeout=60)


async def test_a_service_moves_from_a_primary_that_was_demoted_to_the_new_one(pair: Pair) -> None:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(running_server(pair.dsn))
        client = Client(await stack.enter_async_context(running_gateway(server, heartbeat=1)))
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(server))
        service = Service(client, channel)
        await stack.enter_async_context(service.subscriber.reading())
        await service.subscriber.is_there()
        await waits_for_its_standby(pair.primary)
        first = await service.does(1)

        # It starts again as a standby, while the other one is a standby as well.
        await asyncio.to_thread(pair.primary.stop)
        follow(pair.primary, pair.standby)
        pair.primary.launch()
        await service.is_away()
        await promote(pair.standby)
        second = await service.moves(2, resets=1)
        await service.is_ready()
        await service.keeps(first)

        # The new one may write no more. Whoever reads still gets an answer.
        await becomes(pair.primary, "synchronous_standby_names", "")
        await waits_for_its_standby(pair.standby)
        third = await service.does(3)
        await becomes(pair.standby, "default_transaction_read_only", "on")
        await service.is_away()
        await promote(pair.primary)
        fourth = await service.moves(4, resets=2)
        await service.is_ready()
        for job_id in (first, second, third, fourth):
            await service.keeps(job_id)

        async def all_have_left() -> bool:
            return not await ask(pair.standby, CONNECTIONS)

        await eventually(all_have_left, timeout=60)
        assert service.subscriber.resets == ["OTHER_LOG", "OTHER_LOG"]
