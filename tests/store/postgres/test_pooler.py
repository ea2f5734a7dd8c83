"""PgBouncer between a server and PostgreSQL: in transaction mode every transaction may get another backend."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import grpc
import pytest
from structlog.testing import capture_logs

from tests.support.commands import command
from tests.support.postgres.databases import database_at, pooled
from tests.support.postgres.queue_under_test import QueueUnderTest, new_job
from tests.support.service.server import running_server
from tests.support.waiting import eventually
from tests.wire.worker import Worker, enqueue
from thumbq.v1 import queue_pb2_grpc
from thumbq.v1.admin_pb2 import CancelJobRequest
from thumbq.v1.admin_pb2_grpc import AdminServiceStub
from thumbq_server.storage import live_tables, workers
from thumbq_server.storage.migrations import upgrade
from thumbq_server.storage.postgres.address import InvalidAddress
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.errors import Unavailable
from thumbq_server.storage.postgres.notify import listen
from thumbq_server.storage.postgres.pooler import changes_backends
from thumbq_server.storage.postgres.session_settings import connect
from thumbq_server.storage.postgres.suitability import Unsuitable, check_database, check_listener

pytestmark = pytest.mark.sessions("has poolers of its own")
BACKENDS = 2
ENOUGH = 12
SETTINGS = (
    "statement_timeout",
    "jit",
    "enable_seqscan",
    "plan_cache_mode",
    "TimeZone",
    "default_transaction_isolation",
)


@pytest.fixture
async def pooler(database_url: str, tmp_path: Path) -> AsyncIterator[str]:
    """The address of a PgBouncer in transaction mode, which has two backends for all its clients."""
    with pooled(database_url, "transaction", tmp_path, default_pool_size=BACKENDS) as address:
        yield address


@pytest.fixture
def session_pooler(database_url: str, tmp_path: Path) -> Iterator[str]:
    """The address of a PgBouncer in session mode, which says so."""
    (tmp_path / "session").mkdir()
    with pooled(database_url, "session", tmp_path / "session", default_pool_size=40) as address:
        yield f"{address}&pooler=session"


async def test_a_job_lives_its_life_on_backends_that_change(pooler: str, database_url: str) -> None:
    await upgrade(pooler)
    await check_database(pooler, connections_needed=100_000)
    async with Database(pooler) as database:
        queue = QueueUnderTest(database, database.lane(), await workers.register(database, "worker-1"))
        others = [queue.on(database.lane()) for _ in range(8)]
        await queue.enqueue(*[new_job(model) for model in range(1, 41)])
        claimed = await asyncio.gather(*[other.claim(5) for other in others])
        tokens = [token for some in claimed for token in some]
        assert len({token.job_id for token in tokens}) == 40
        # Several requests for one model contest each other: their ends take several statements each.
        await queue.enqueue(*[new_job(model, file=2) for model in range(1, 11)])
        await asyncio.gather(*[queue.complete(token) for token in tokens[:20]], *[others[0].release(tokens[20])])
        await live_tables.vacuum(database)
        states = await queue.sql("SELECT count(*) AS count FROM attempts WHERE outcome = 'Completed'")
        assert states[0]["count"] == 20


async def test_statements_of_many_connections_never_meet_at_a_backend(pooler: str, database_url: str) -> None:
    async with Database(pooler) as database:
        lanes = [database.lane() for _ in range(10)]

        async def ask(number: int) -> None:
            for turn in range(20):
                statement = f"SELECT $1::int + {number} AS sum, pg_sleep(0.0001)"
                [row] = await lanes[number].fetch(statement, turn)
                assert row["sum"] == turn + number

        await asyncio.gather(*map(ask, range(10)))


async def test_each_transaction_has_the_settings_and_leaves_none(pooler: str, database_url: str) -> None:
    wanted = ", ".join(f"current_setting('{name}') AS {name}" for name in SETTINGS)
    async with Database(
        f"{pooler}&options=-c%20work_mem%3D9MB%20--application-name=my%5C%20queue&search_path=public,pg_temp"
    ) as database:
        lane = database.lane()
        [row] = await lane.fetch(f"SELECT {wanted}, current_setting('search_path'), current_setting('work_mem')")
        assert tuple(row) == (
            *("30s", "off", "off", "force_generic_plan", "UTC", "read committed"),
            *("public,pg_temp", "9MB"),
        )
    stranger = await asyncpg.connect(pooler, statement_cache_size=0)
    async with stranger.transaction():
        left = await stranger.fetch(
            "SELECT name FROM pg_settings WHERE source = 'session' AND name NOT IN ('application_name', 'TimeZone')"
        )
        assert {row["name"] for row in left} <= {"client_encoding", "DateStyle", "transaction_isolation"}
        # its own, which has no name
        assert not await stranger.fetch("SELECT FROM pg_prepared_statements WHERE name <> ''")
    await stranger.close()


async def test_options_that_are_no_settings_are_refused(pooler: str) -> None:
    with pytest.raises(InvalidAddress, match="-c name=value"):
        await check_database(f"{pooler}&options=-B%2099", ENOUGH)


async def test_what_fails_in_a_transaction_leaves_a_connection_that_works(pooler: str) -> None:
    is_under_way = "SELECT FROM pg_stat_activity WHERE query = $1 AND state = 'active'"
    async with Database(pooler, statement_timeout=5) as database, Database(pooler) as other:
        for where in (database, database.lane()):
            with pytest.raises(asyncpg.DivisionByZeroError):
                await where.fetch("SELECT 1 / $1::int", 0)
            with pytest.raises(Unavailable, match="timeout"):
                await where.fetch("SELECT pg_sleep(30)")
            sleep = f"SELECT pg_sleep(30) AS of_{type(where).__name__}"
            call = asyncio.create_task(where.fetch(sleep))
            await eventually(partial(other.fetch, is_under_way, sleep))
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert await where.fetch("SELECT 1")


@pytest.mark.parametrize("parameter", ["pooler=transaction", "pgbouncer=true", ""])
async def test_the_address_may_name_the_mode(pooler: str, parameter: str) -> None:
    connection = await connect(f"{pooler}&{parameter}".rstrip("&"), statement_timeout=5)
    assert changes_backends(connection)
    await connection.close()


async def test_session_mode_has_to_be_said_and_keeps_sessions(pooler: str, session_pooler: str) -> None:
    with pytest.raises(Unsuitable, match="remove pooler=session"):
        await check_database(f"{pooler}&pooler=session", ENOUGH)
    await check_database(session_pooler, ENOUGH)
    async with Database(session_pooler) as database:
        lane = database.lane()
        for _ in range(2):
            [row] = await lane.fetch("SELECT current_setting('statement_timeout') AS limit, pg_backend_pid()")
            assert row["limit"] == "30s"
        assert await lane.fetch("SELECT FROM pg_prepared_statements")


async def test_without_a_way_around_the_pooler_a_listener_says_once_that_it_polls(pooler: str) -> None:
    with capture_logs() as lines:
        async with asyncio.timeout(30):
            await listen(Database(pooler), pooler, {})
    assert [line["event"] for line in lines if line["event"].startswith("listener")] == ["listener.polls"]


@pytest.mark.parametrize("way", ["around", "polling", "session"])
async def test_a_worker_gets_what_is_enqueued_at_another_server(
    pooler: str, session_pooler: str, database_url: str, way: str
) -> None:
    settings: dict[str, Any] = {"listen_url": database_url} if way == "around" else {}
    address, listens = session_pooler if way == "session" else pooler, way != "polling"
    listening = "SELECT FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = current_database()"
    async with (
        running_server(address, **settings) as first,
        running_server(address, **settings) as second,
        grpc.aio.insecure_channel(first) as channel,
        grpc.aio.insecure_channel(second) as other_channel,
    ):
        connection = await asyncpg.connect(database_url)

        async def listeners() -> int:
            return len(await connection.fetch(listening))

        async def all_listen() -> bool:
            return await listeners() == 2

        if listens:
            await eventually(all_listen, timeout=30)
        worker = Worker(queue_pb2_grpc.QueueServiceStub(channel))
        await worker.hello()
        await worker.wants(1)
        await enqueue(queue_pb2_grpc.QueueServiceStub(other_channel), 7)
        (job,) = (await worker.receives("jobs")).jobs
        assert job.model_id == 7
        await AdminServiceStub(other_channel).CancelJob(CancelJobRequest(job_id=job.id))
        if not listens:  # its worker learns of the cancellation when it says that it is still at it
            await worker.received(1)
            await worker.holds(job)
        assert list((await worker.receives("lease_lost")).lease_tokens) == [job.lease_token]
        assert await listeners() == (2 if listens else 0)
        await connection.close()


async def test_the_output_of_a_command_is_its_answer_alone(pooler: str) -> None:
    variables = {"DATABASE_URL": pooler}
    state = await command("db", "check", "--json", variables=variables)
    assert json.loads(state.output)["state"] == "Current"
    key = await command("keys", "create", "--database", "--role=admin", "--name=first", variables=variables)
    assert re.fullmatch(r"tq_\S+\n", key.output)


async def test_an_address_to_listen_at_must_be_of_the_same_database(
    pooler: str, database_url: str, postgres: str, unused_tcp_port: int
) -> None:
    await check_listener(pooler, database_url)
    with pytest.raises(Unsuitable, match="THUMBQ_LISTEN_URL names another database"):
        await check_listener(pooler, database_at(postgres, "template1"))
    with pytest.raises(InvalidAddress, match="THUMBQ_LISTEN_URL must look like"):
        await check_listener(pooler, "db:5432")
    await check_listener(pooler, f"postgresql://queue@127.0.0.1:{unused_tcp_port}/thumbs")


async def test_an_address_to_listen_at_that_will_never_do_is_refused(pooler: str, postgres: str) -> None:
    parts = urlsplit(postgres)
    stranger = urlunsplit(parts._replace(netloc=f"stranger@{parts.netloc.rpartition('@')[2]}"))
    with_certificate = "postgresql://db/thumbs?sslmode=verify-full&sslrootcert=/nowhere/ca.pem"
    for address, sentence in (
        (database_at(postgres, "nowhere"), 'PostgreSQL refuses THUMBQ_LISTEN_URL: database "nowhere" does not exist.'),
        (stranger, 'PostgreSQL refuses THUMBQ_LISTEN_URL: role "stranger" does not exist.'),
        (with_certificate, "THUMBQ_LISTEN_URL names sslrootcert=/nowhere/ca.pem, and there is no such file."),
    ):
        with pytest.raises(Unsuitable) as refused:
            await check_listener(pooler, address)
        assert str(refused.value) == sentence
