"""What runs in a server, part by part, on a queue that is emptied for each test."""

import uuid
from collections.abc import AsyncIterator

import asyncpg
import pytest

from tests.conftest import database_at
from tests.engine.parts import WatchedDatabase, running
from tests.support.invariants import assert_sound
from tests.support.queue_under_test import TABLES, QueueUnderTest
from thumbq_server.domain.retry import RetryPolicy
from thumbq_server.engine.queue import Queue
from thumbq_server.storage import workers
from thumbq_server.storage.postgres.database import Database

# No test waits for a back-off that it has not made due, nor for a poll that it has not asked for.
POLICY = RetryPolicy(base=600, cap=600)
NEVER = 3600.0


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
    """An empty queue; sound it must be when the test is over."""
    for table in TABLES:
        if table != "queue_head":
            await shared_database.fetch(f"DELETE FROM {table}")
    await shared_database.fetch("UPDATE queue_head SET seq = 0, completed = 0")
    yield shared_database
    await assert_sound(shared_database)


@pytest.fixture
async def others(database: Database) -> AsyncIterator[QueueUnderTest]:
    """The same queue as others use it, of whom the parts under test are not told."""
    lane = database.lane()
    yield QueueUnderTest(database, lane, await workers.register(database, "another"))
    await lane.close()


@pytest.fixture
async def watched(database: Database) -> AsyncIterator[WatchedDatabase]:
    """The connections of the parts under test."""
    async with WatchedDatabase(database.dsn) as watched:
        yield watched


@pytest.fixture
async def queue(watched: WatchedDatabase) -> AsyncIterator[Queue]:
    """The verbs and the dispatcher of one server. Nothing is found by the poll."""
    queue = Queue(watched, policy=POLICY, unary_lease_seconds=600)
    queue.dispatcher._poll = NEVER
    async with running(queue.dispatcher.run()):
        yield queue
    await queue.drained()
