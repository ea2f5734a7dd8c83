"""The parts of a running server, on a queue that is emptied for each test."""

import uuid
from collections.abc import AsyncIterator

import asyncpg
import pytest

from tests.engine.dispatcher.worker import Worker
from tests.engine.parts import NEVER, POLICY, WatchedDatabase, running
from tests.support.postgres.databases import database_at
from tests.support.postgres.invariants import assert_sound
from tests.support.postgres.queue_under_test import QueueUnderTest, empty
from thumbq_server.engine.dispatching.dispatcher import Dispatcher
from thumbq_server.engine.queue import Queue
from thumbq_server.engine.readers.hub import Hub
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.workers import register


@pytest.fixture(scope="session")
async def shared_database(postgres: str, migrated_template: str) -> AsyncIterator[Database]:
    """The database of all tests here. Ask for `database` instead."""
    name = f"thumbq_engine_{uuid.uuid4().hex[:8]}"
    server = await asyncpg.connect(postgres)
    try:
        await server.execute(f"CREATE DATABASE {name} TEMPLATE {migrated_template}")
        async with Database(database_at(postgres, name)) as database:
            yield database
        await server.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await server.close()


@pytest.fixture
async def database(shared_database: Database) -> AsyncIterator[Database]:
    """An empty queue, which must be sound when the test is over."""
    await empty(shared_database)
    yield shared_database
    await assert_sound(shared_database)


@pytest.fixture
async def others(database: Database) -> AsyncIterator[QueueUnderTest]:
    """The same queue as other servers use it, without a hint to the parts under test."""
    lane = database.lane()
    yield QueueUnderTest(database, lane, await register(database, "another"))
    await lane.close()


@pytest.fixture
async def watched(database: Database) -> AsyncIterator[WatchedDatabase]:
    """The connections of the parts under test."""
    async with WatchedDatabase(database.dsn) as watched:
        yield watched


@pytest.fixture
async def queue(watched: WatchedDatabase) -> AsyncIterator[Queue]:
    """The verbs and the dispatcher of one server, without a poll."""
    queue = Queue(watched, policy=POLICY, unary_lease_seconds=600)
    queue.dispatcher._wake_up.poll = NEVER
    async with running(queue.dispatcher.run()):
        yield queue
    await queue.drained()


@pytest.fixture
def dispatcher(queue: Queue) -> Dispatcher:
    return queue.dispatcher


@pytest.fixture
async def workers(database: Database, dispatcher: Dispatcher) -> list[Worker]:
    return [Worker(dispatcher, await register(database, f"worker-{n}")) for n in range(3)]


@pytest.fixture
def worker(workers: list[Worker]) -> Worker:
    return workers[0]


@pytest.fixture
async def hub(watched: WatchedDatabase) -> AsyncIterator[Hub]:
    """A hub that gets no hint unless the test gives one."""
    hub = Hub(watched, ring_size=20, poll=NEVER)
    async with running(hub.run()):
        yield hub
