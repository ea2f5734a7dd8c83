"""How the SDK's worker keeps the leases of what it works on, and what it does when one is lost."""

from collections.abc import AsyncIterator, Iterator
from functools import partial

import asyncpg
import pytest

from tests.support.service.server import running_server
from tests.support.waiting import eventually
from tests.wire.sdk.sdk import HASH, Gate, connected, enqueue, reached, statuses, working
from thumbq import NewJob, Producer
from thumbq.stream import WorkerStream
from thumbq.v1.queue_pb2 import StreamJobsRequest


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    async with connected(database_url) as connection:
        yield connection


@pytest.fixture
def gate() -> Gate:
    return Gate()


async def in_order(numbers: list[int], upto: int) -> bool:
    return numbers == list(range(1, upto + 1))


async def test_heartbeats_keep_the_lease_of_a_long_job(database_url: str, database: asyncpg.Connection, gate: Gate):
    async with running_server(
        database_url, delivery_lease_duration=8, lease_duration=8, heartbeat_interval=0.5
    ) as server:
        await enqueue(server, 1)
        async with working(server, gate):
            await gate.begun(1)
            first = await database.fetchval("SELECT expires_at FROM leases")

            async def outlived() -> bool:
                return bool(await database.fetchval("SELECT now() > $1::timestamptz + interval '1 s'", first))

            await eventually(outlived)
            gate.open.set()
            await reached(database, Completed=1)
    assert gate.runs.total() == 1


async def test_every_message_with_a_job_that_runs_on_is_confirmed_before_the_next_heartbeat(
    database_url: str, gate: Gate, monkeypatch: pytest.MonkeyPatch
):
    confirmed: list[int] = []
    due = WorkerStream._due

    def noted(stream: WorkerStream) -> Iterator[StreamJobsRequest]:
        for message in due(stream):
            if message.HasField("received"):
                confirmed.append(message.received.number)
            yield message

    monkeypatch.setattr(WorkerStream, "_due", noted)
    durations = {"heartbeat_interval": 300, "lease_duration": 1000, "delivery_lease_duration": 1000}
    async with (
        running_server(database_url, **durations) as server,
        Producer(server) as producer,
        working(server, gate, concurrency=3),
    ):
        for number in (1, 2, 3):
            await producer.enqueue_one(NewJob(model_id=number, model_hash=HASH))
            await gate.begun(number)
            await eventually(partial(in_order, confirmed, number))
        gate.open.set()
    assert confirmed == [1, 2, 3]


async def test_a_lost_lease_cancels_the_handler(database_url: str, database: asyncpg.Connection, gate: Gate):
    async with running_server(database_url, heartbeat_interval=1) as server:
        await enqueue(server, 1)
        async with working(server, gate):
            await gate.begun(1)
            await database.execute(
                "UPDATE leases SET lease_seq = lease_seq + 1, session = 0"
            )  # as if another worker had it
            await gate.was_cancelled(1)
    assert await statuses(database) == {"Processing": 1}
