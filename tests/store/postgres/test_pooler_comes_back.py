"""PgBouncer, or PostgreSQL behind it, fails under load: the queue recovers, and nothing is lost."""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import asyncpg
import pytest

from tests.support.postgres.databases import at_pooler, end_pooler, launch_pooler, tell_pooler
from tests.support.postgres.made_data import copy_data
from tests.support.service.server import running_server
from tests.support.waiting import eventually
from tests.wire.sdk.sdk import HASH, PICTURE, connected, working
from thumbq import Job, NewJob, Producer, Thumbnail
from thumbq.cli.operating.observe import readiness
from thumbq_launcher.postgres.embedded import AT_ONCE, EmbeddedPostgres
from thumbq_server.storage.postgres.address import parse_address

pytestmark = pytest.mark.sessions("has poolers of its own")

# Connections to PostgreSQL end all the time, and their places are asked for soon after an outage.
SETTINGS = {"server_idle_timeout": 1, "server_lifetime": 2, "server_login_retry": 1}
NOT_ONCE = "SELECT FROM attempts WHERE outcome = 'Completed' GROUP BY job_id HAVING count(*) > 1"


class Pooler:
    """A PgBouncer in transaction mode that can end and start again at its address."""

    def __init__(self, database: str, folder: Path) -> None:
        self._place = parse_address(database)
        self._folder = folder
        self.process, self._port = launch_pooler(self._place, "transaction", folder, **SETTINGS)
        self.address = at_pooler(database, self._port)

    async def starts_again(self, **settings: object) -> None:
        """Wait until it has ended, and start it at the same port."""
        await asyncio.to_thread(self.process.wait)
        chosen = SETTINGS | settings
        self.process, _ = launch_pooler(self._place, "transaction", self._folder, self._port, **chosen)


class Service:
    """A server behind a pooler, on a PostgreSQL of its own, with a producer and a worker that never rest."""

    def __init__(self, server: str, pooler: Pooler, postgres: EmbeddedPostgres) -> None:
        self.server = server
        self.pooler = pooler
        self.postgres = postgres
        self.acknowledged: list[int] = []
        self.handled: Counter[int] = Counter()

    async def produce(self, producer: Producer) -> None:
        while True:
            job = NewJob(model_id=len(self.acknowledged) + 1, model_hash=HASH, max_attempts=10)
            self.acknowledged.append((await producer.enqueue_one(job)).job_id)

    async def handle(self, job: Job) -> Thumbnail:
        self.handled[job.id] += 1
        return PICTURE

    async def goes_on(self) -> None:
        """Wait until more is enqueued, and more handled, than before."""
        enqueued, handled = len(self.acknowledged) + 20, len(self.handled) + 20

        async def is_so() -> bool:
            return len(self.acknowledged) >= enqueued and len(self.handled) >= handled

        await eventually(is_so, timeout=90)

    async def is_not_ready(self) -> bool:
        """Return whether health says that the database does not answer."""
        return bool((await readiness(self.server)).reason)


@pytest.fixture
def own_postgres(tmp_path: Path, made_data: Path) -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL that the test may kill, with the tables of a queue."""
    postgres = EmbeddedPostgres(copy_data(made_data, tmp_path / "data"))
    with postgres:
        yield postgres


@asynccontextmanager
async def under_load(postgres: EmbeddedPostgres, folder: Path) -> AsyncIterator[Service]:
    """Run a server behind a pooler, a producer and a worker. Afterwards all that was acknowledged is done, once."""
    pooler = Pooler(postgres.dsn, folder)
    try:
        async with (
            running_server(pooler.address, listen_url=postgres.dsn) as server,
            Producer(server, timeout=120) as producer,
        ):
            service = Service(server, pooler, postgres)
            async with working(server, service.handle, concurrency=10):
                producing = asyncio.create_task(service.produce(producer))
                try:
                    yield service
                finally:
                    producing.cancel()
                    with suppress(asyncio.CancelledError):
                        await producing
                async with connected(postgres.dsn) as database:
                    await eventually(lambda: all_done(database, service.acknowledged), timeout=90)
                    assert not await database.fetch(NOT_ONCE)
    finally:
        end_pooler(pooler.process)


async def all_done(database: asyncpg.Connection, acknowledged: list[int]) -> bool:
    """Return whether all jobs are completed, these among them."""
    rows = await database.fetch("SELECT id, status FROM job_states")
    return {row["status"] for row in rows} == {"Completed"} and set(acknowledged) <= {row["id"] for row in rows}


async def is_killed(service: Service) -> None:
    service.pooler.process.kill()
    await service.pooler.starts_again()


async def is_shut_down_and_has_one_connection_from_now_on(service: Service) -> None:
    with suppress(asyncpg.PostgresConnectionError):
        await tell_pooler(service.pooler.address, "SHUTDOWN")
    await service.pooler.starts_again(default_pool_size=1)


async def renews_its_connections(service: Service) -> None:
    await tell_pooler(service.pooler.address, "RECONNECT")


async def stands_still(service: Service) -> None:
    service.pooler.process.send_signal(signal.SIGSTOP)
    await eventually(service.is_not_ready, timeout=60)
    service.pooler.process.send_signal(signal.SIGCONT)


async def is_paused(service: Service) -> None:
    await tell_pooler(service.pooler.address, "PAUSE")
    await eventually(service.is_not_ready, timeout=60)
    await tell_pooler(service.pooler.address, "RESUME")


async def loses_postgresql(service: Service) -> None:
    await asyncio.to_thread(service.postgres.stop, AT_ONCE)
    await eventually(service.is_not_ready, timeout=60)
    service.postgres.launch()

    async def is_back() -> bool:
        return service.postgres.ready()

    await eventually(is_back, timeout=60)


@pytest.mark.parametrize(
    "trouble",
    [
        is_killed,
        is_shut_down_and_has_one_connection_from_now_on,
        renews_its_connections,
        stands_still,
        is_paused,
        loses_postgresql,
    ],
)
async def test_nothing_is_lost_when_a_pooler(
    own_postgres: EmbeddedPostgres, tmp_path: Path, trouble: Callable[[Service], Awaitable[None]]
) -> None:
    async with under_load(own_postgres, tmp_path) as service:
        await service.goes_on()
        await trouble(service)
        await service.goes_on()
