"""A queue for each test: one database, emptied each time, since a fresh one takes a hundred times longer."""

import uuid
from collections.abc import AsyncIterator

import asyncpg
import pytest

from tests.support.postgres.databases import database_at
from tests.support.postgres.invariants import assert_sound
from tests.support.postgres.queue_under_test import QueueUnderTest, empty
from thumbq_server.storage import workers
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.lane import Lane

MANY = 20


@pytest.fixture(scope="session")
async def shared_database(postgres: str, migrated_template: str) -> AsyncIterator[Database]:
    """The database of all tests here. Ask for `database` instead."""
    name = f"thumbq_store_{uuid.uuid4().hex[:8]}"
    server = await asyncpg.connect(postgres)
    try:
        await server.execute(f"CREATE DATABASE {name} TEMPLATE {migrated_template}")
        async with Database(database_at(postgres, name)) as database:
            yield database
        await server.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await server.close()


@pytest.fixture(scope="session")
async def shared_lanes(shared_database: Database) -> list[Lane]:
    return [shared_database.lane() for _ in range(MANY)]


@pytest.fixture
async def database(shared_database: Database) -> AsyncIterator[Database]:
    """An empty queue. It must be sound when the test is over."""
    await empty(shared_database)
    yield shared_database
    await assert_sound(shared_database)


@pytest.fixture
async def lanes(database: Database, shared_lanes: list[Lane]) -> list[Lane]:
    """Twenty connections to the queue, for tests of what happens at once."""
    return shared_lanes


@pytest.fixture
async def queue(database: Database, lanes: list[Lane]) -> QueueUnderTest:
    return QueueUnderTest(database, lanes[0], await workers.register(database, "worker-1"))


@pytest.fixture
def no_second_try(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a deadlock an error, where production code would try again."""
    monkeypatch.setattr("thumbq_server.storage.postgres.errors.UNDONE_TRIES", 1)
