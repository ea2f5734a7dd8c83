"""Fixtures for tests of a real PostgreSQL: one server for the session, an empty database for each test."""

import os
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest
from hypothesis import settings

from tests.support.left_out import left_out
from tests.support.network.http_client import Client
from tests.support.network.ports import free_port
from tests.support.postgres.databases import database_at
from tests.support.postgres.fresh_databases import FreshDatabases
from tests.support.postgres.made_data import made_once
from tests.support.service.common import CommonService
from tests.support.stores.object_store import ObjectStore, running_object_store
from tests.support.stores.troubled_store import TroubledStore
from thumbq_launcher.postgres import embedded
from thumbq_launcher.postgres.embedded import EmbeddedPostgres
from thumbq_runtime.files import objects

TEMPLATE = "thumbq_test_template"
# PostgreSQL does not visit each of the many databases every ten seconds.
OF_TESTS = {"autovacuum_naptime": "60s"}

# The same cases everywhere, and no time limit for each: a busy machine is no failure.
settings.load_profile("ci")


def pytest_report_header() -> list[str]:
    """Say which tests are left out, and why."""
    return [f"left out: tests marked {marker}, because {reason}" for marker, reason in left_out().items()]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect these tests instead of skipping them: CI takes a skip for a missing package, and none would help."""
    for marker in left_out():
        marked = [item for item in items if item.get_closest_marker(marker)]
        if marked:
            items[:] = [item for item in items if item not in marked]
            config.hook.pytest_deselected(items=marked)


@pytest.fixture
def unused_tcp_port() -> int:
    """A port for a server that starts later. The fixture of pytest-asyncio gives one that a client may take."""
    return free_port()


@pytest.fixture
def object_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    """An object store with an empty bucket. The environment says how to reach it."""
    with running_object_store(tmp_path / "store") as store:
        for variable, value in store.variables().items():
            monkeypatch.setenv(variable, value)
        # a busy machine is no outage
        monkeypatch.setattr(objects, "_ANSWER", 60.0)
        monkeypatch.setattr(objects, "_SILENCE", timedelta(seconds=60))
        yield store


@pytest.fixture
async def troubled_store(object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[TroubledStore]:
    """A proxy before the object store. From here on, the environment leads to it."""
    async with TroubledStore(object_store.variables()["AWS_ENDPOINT_URL"]) as store:
        monkeypatch.setenv("AWS_ENDPOINT_URL", store.address)
        yield store


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The DSN of the session's PostgreSQL: the one in THUMBQ_TEST_DATABASE_URL, otherwise an embedded one."""
    if given := os.environ.get("THUMBQ_TEST_DATABASE_URL"):
        yield given
        return
    server = EmbeddedPostgres(tmp_path_factory.mktemp("postgres"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in OF_TESTS.items():
            patch.setitem(embedded.SETTINGS, name, value)
        server.start()
    yield server.dsn
    server.stop(embedded.AT_ONCE)


@pytest.fixture(scope="session")
async def migrated_template(postgres: str) -> AsyncIterator[str]:
    """The name of a migrated database without connections, from which the others are copied."""
    from thumbq_server.storage.migrations import upgrade

    name = f"{TEMPLATE}_{uuid.uuid4().hex[:8]}"
    await _execute(postgres, f"CREATE DATABASE {name}")
    await upgrade(database_at(postgres, name))
    yield name
    await _execute(postgres, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
async def fresh_databases(postgres: str, migrated_template: str) -> AsyncIterator[FreshDatabases]:
    """The databases of the tests that need one for themselves. Ask for `database_url` instead."""
    databases = FreshDatabases(postgres, migrated_template)
    yield databases
    await databases.drop_all()


@pytest.fixture
async def database_url(fresh_databases: FreshDatabases) -> AsyncIterator[str]:
    """The DSN of a migrated, empty database that only this test uses."""
    address = await fresh_databases.take()
    yield address
    await fresh_databases.give_back(address)


@pytest.fixture(scope="session")
async def common_service(
    fresh_databases: FreshDatabases, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[CommonService]:
    """The service of all tests that are marked `changes_nothing`. They get it by asking for `server` or `client`."""
    address = await fresh_databases.take()
    async with CommonService.started(address, tmp_path_factory.mktemp("thumbnails")) as service:
        yield service
    await fresh_databases.give_back(address)


@pytest.fixture
async def common_server(common_service: CommonService) -> AsyncIterator[str]:
    """host:port of a server that must be left unchanged."""
    async with common_service.server() as address:
        yield address


@pytest.fixture
async def common_client(common_service: CommonService) -> AsyncIterator[Client]:
    """A client of a gateway that must be left unchanged, as its server."""
    async with common_service.client() as client:
        yield client


@pytest.fixture(scope="session")
async def made_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder of `thumbq serve` with an empty queue, which is at rest. All test processes share it: copy it."""
    base = tmp_path_factory.getbasetemp()
    return await made_once((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "made-data")


@pytest.fixture
async def empty_database_url(postgres: str) -> AsyncIterator[str]:
    """The DSN of a database without any table, for the tests of the migrations themselves."""
    name = f"thumbq_test_{uuid.uuid4().hex[:12]}"
    await _execute(postgres, f"CREATE DATABASE {name}")
    yield database_at(postgres, name)
    await _execute(postgres, f"DROP DATABASE {name} WITH (FORCE)")


async def _execute(server: str, statement: str) -> None:
    connection = await asyncpg.connect(server)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
