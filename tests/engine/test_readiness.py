"""Ready means served: a statement that writes went through lately, and the duties run."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg
import pytest

from tests.engine.parts import NEVER, away, running, until
from tests.support.postgres.freezing import FreezingHost, freezing_host
from thumbq_server.engine.upkeep.janitor import Duty, Janitor
from thumbq_server.engine.upkeep.readiness import Readiness
from thumbq_server.storage.postgres.address import parse_address
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.errors import Unavailable


@pytest.fixture
async def freezing(database_url: str) -> AsyncIterator[FreezingHost]:
    async with freezing_host(database_url) as host:
        yield host


@asynccontextmanager
async def readiness_of(
    dsn: str, *duties: Duty, limit: float = 30.0
) -> AsyncIterator[tuple[Database, Readiness, list[str | None]]]:
    told: list[str | None] = []

    async with Database(dsn) as database:
        yield database, Readiness(database, Janitor(list(duties)), told.append, limit=limit), told


async def test_a_host_that_freezes_is_noticed_and_the_next_one_serves(database_url, freezing):
    address = parse_address(database_url)
    ((folder, port),) = address.hosts
    place = folder.replace("/", "%2F")
    both = f"postgresql://{address.user}@127.0.0.1:{freezing.port},{place}:{port}/{address.database}"
    async with readiness_of(f"{both}?connect_timeout=2&sslmode=disable", limit=3.0) as (database, readiness, told):
        lane = database.lane()
        await lane.fetch("SELECT 1")
        await until_ready(readiness, told)
        freezing.frozen = True
        under_way = asyncio.create_task(lane.fetch("SELECT 2"))
        await readiness.look()
        assert told[-1] == "the database does not answer"
        async with asyncio.timeout(30):  # below the time limit of a statement
            with pytest.raises(Unavailable):
                await under_way
        async with asyncio.timeout(60):
            await until_ready(readiness, told)
            assert (await lane.fetch("SELECT 3"))[0][0] == 3


async def until_ready(readiness, told):
    """Look until all is well: on a busy machine, one look may take longer than its limit."""
    await readiness.look()
    while told[-1] is not None:
        await readiness.look()


@pytest.mark.sessions("looks at what a session may do, or at how many there are")
async def test_a_database_that_became_read_only_is_not_ready_and_says_so(postgres, database_url):
    async with readiness_of(database_url) as (database, readiness, told):
        name = parse_address(database_url).database
        server = await asyncpg.connect(postgres)
        await server.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        database.drop_connections()
        await readiness.look()
        assert told == ["the database is read-only"]
        await server.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
        # The connection was given up with the refusal, as that of a primary that was demoted.
        await readiness.look()
        assert told[1:] == [None]
        await server.close()


@pytest.mark.sessions("looks at what a session may do, or at how many there are")
async def test_every_connection_leaves_a_primary_that_was_demoted(database_url):
    """Those that only read would not find out, and would go on reading what the new primary has left behind."""
    async with Database(database_url) as database:
        lane, reader = database.lane(), database.lane()

        async def backends() -> list[int]:
            return [(await way.fetch("SELECT pg_backend_pid()"))[0][0] for way in (lane, reader, database)]

        before = await backends()
        await lane.fetch("SET default_transaction_read_only = on")
        with pytest.raises(Unavailable):
            await lane.fetch("UPDATE queue_head SET seq = seq")
        assert not {*before} & {*await backends()}
        await lane.fetch("UPDATE queue_head SET seq = seq")


@pytest.mark.sessions("looks at what a session may do, or at how many there are")
async def test_a_database_without_new_connections_is_not_ready(postgres, database_url):
    async with readiness_of(database_url) as (_, readiness, told):
        async with away(postgres, database_url):
            await readiness.look()
            assert told == ["the database is away"]
        await readiness.look()
        assert told[1:] == [None]


@pytest.mark.sessions("looks at what a session may do, or at how many there are")
async def test_it_is_ready_as_soon_as_any_part_has_reached_the_database_again(postgres, database_url):
    told: list[str | None] = []

    async with Database(database_url) as database:
        readiness = Readiness(database, Janitor([]), told.append, every=NEVER, again=NEVER, limit=30)
        async with AsyncExitStack() as stack:
            async with away(postgres, database_url):
                _ = await stack.enter_async_context(running(readiness.run()))
                await until(lambda: told == ["the database is away"])
            await database.lane().fetch("SELECT 1")
            await until(lambda: told[1:] == [None])


async def test_it_is_ready_as_soon_as_a_duty_that_is_late_has_run(database_url):
    """After an outage all duties are late, and run within a moment: no two seconds without this server."""
    told: list[str | None] = []

    async def do_nothing() -> int:
        return 0

    duty = Duty("expire leases", 1.0, do_nothing, ended=time.monotonic() - 60)
    async with Database(database_url) as database:
        janitor = Janitor([duty])
        async with running(Readiness(database, janitor, told.append, every=NEVER, again=0.01).run()):
            await until(lambda: bool(told))
            assert str(told[0]).startswith("the duty to expire leases has not run for 6")
            async with running(janitor.run()):
                await until(lambda: told[-1] is None)


@pytest.fixture
async def few(database_url: str) -> AsyncIterator[str]:
    """A role whose connections can be limited. A superuser's cannot."""
    role = f"few_{uuid.uuid4().hex[:8]}"
    owner = await asyncpg.connect(database_url)
    await owner.execute(f"CREATE ROLE {role} LOGIN; GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}")
    yield role
    await owner.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
    await owner.close()


@pytest.mark.sessions("looks at what a session may do, or at how many there are")
async def test_a_database_whose_connections_are_all_taken_is_not_ready_and_says_so(postgres, database_url, few):
    ((folder, _),) = parse_address(database_url).hosts
    server = await asyncpg.connect(postgres)
    name = parse_address(database_url).database
    async with readiness_of(f"postgresql://{few}@/{name}?host={folder}") as (database, readiness, told):
        await readiness.look()
        await server.execute(f"ALTER ROLE {few} CONNECTION LIMIT 0")
        database.drop_connections()
        await readiness.look()
        sentence = (
            "the database has no connection left: raise max_connections, or the CONNECTION LIMIT of the role or the"
            " database, or lower THUMBQ_DATABASE_CONNECTIONS"
        )
        assert told == [None, sentence]
        await server.execute(f"ALTER ROLE {few} CONNECTION LIMIT -1")
        await readiness.look()
        assert told[2:] == [None]
    await server.close()


async def test_idle_lanes_are_given_back_when_no_connection_is_left(postgres, database_url, few):
    ((folder, _),) = parse_address(database_url).hosts
    name = parse_address(database_url).database
    server = await asyncpg.connect(postgres)
    async with Database(f"postgresql://{few}@/{name}?host={folder}") as database:
        lanes = [database.lane() for _ in range(3)]
        for lane in lanes:
            await lane.fetch("SELECT 1")
        await server.execute(f"ALTER ROLE {few} CONNECTION LIMIT 4")  # the pool's, and one for each lane
        other = await asyncpg.connect(database_url)
        async with other.transaction():
            await other.execute("SELECT pg_advisory_xact_lock(1)")
            busy = asyncio.create_task(lanes[0].fetch("SELECT pg_advisory_xact_lock(1)"))
            fourth = database.lane()
            assert (await fourth.fetch("SELECT 4"))[0][0] == 4
            assert (await lanes[1].fetch("SELECT 2"))[0][0] == 2
            assert not busy.done()
        await busy
        await other.close()
    await server.close()


async def test_a_duty_that_does_not_run_is_named(database_url, monkeypatch):
    async def nothing() -> int:
        return 0

    duty = Duty("expire leases", 60.0, nothing)
    async with readiness_of(database_url, duty) as (_, readiness, told):
        await readiness.look()
        duty.ended -= 200
        await readiness.look()
        assert told == [None, "the duty to expire leases has not run for 200 s"]


async def test_a_server_is_ready_beside_a_duty_that_may_take_long(database_url):
    async def nothing() -> int:
        return 0

    duty = Duty("give back room", 2.0, nothing, may_take_long=True, ended=time.monotonic() - 200)
    async with readiness_of(database_url, duty) as (_, readiness, told):
        await readiness.look()
        assert told == [None]
