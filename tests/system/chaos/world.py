"""The programs of a run: PostgreSQL, two servers, two gateways and their clients, with a link for each connection.

Every connection goes through a `Link`, so that it can be cut:

    sdk-1 ── server-1 ══ postgres      gateway-1 ── server-1      json-legacy, page-1 ── gateway-1
    sdk-2 ── server-2 ══ postgres      gateway-2 ── server-2      json-fenced, page-2 ── gateway-2
    sdk-3, producers ── either server  page-3 ── either gateway

A server has two links to PostgreSQL, which DATABASE_URL names as two hosts: a primary, and one that takes its place.
"""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Protocol, Self

import asyncpg

from tests.support.network.ports import free_port
from tests.support.programs import LaunchFailed, Program
from tests.system.chaos.actors.clients import Capacity, Clients
from tests.system.chaos.checking.history import INSTALL
from tests.system.chaos.clock import Clock
from tests.system.chaos.proxy import Link, Links
from thumbq_launcher.postgres.embedded import EmbeddedPostgres

# A worker of the SDK that is killed then leaves several leases behind, and jobs that it has not begun.
AMPLE = Capacity(concurrency=10, prefetch=6)
# Seconds; short leases make short recoveries. A worker that is stopped for longer comes back as a zombie.
LEASE = 3
SERVER_SETTINGS = {
    "THUMBQ_LEASE_DURATION": str(LEASE),
    "THUMBQ_DELIVERY_LEASE_DURATION": "2",
    "THUMBQ_HEARTBEAT_INTERVAL": "0.5",
    "THUMBQ_UNARY_LEASE_DURATION": "4",
    "THUMBQ_RETRY_BASE": "0.1",
    "THUMBQ_RETRY_CAP": "1.0",
    "THUMBQ_SHUTDOWN_GRACE": "3",
    "THUMBQ_STATEMENT_TIMEOUT": "10",  # also the time until a statement on a frozen host is given up
}
GATEWAY_SETTINGS = {"THUMBQ_HEARTBEAT": "2"}
_STARTS = 100
_START_PAUSE = 0.3


class Role:
    """A server or a gateway at a port of its own, its clock, and the links to the part that it depends on."""

    def __init__(self, program: Program, port: int, upstream: Links, clock: Clock) -> None:
        self.program = program
        self.port = port
        self.upstream = upstream
        self.clock = clock

    @property
    def name(self) -> str:
        return self.program.name


class Postgres(Protocol):
    """PostgreSQL as a run has it: alone, or a cluster with one primary."""

    @property
    def programs(self) -> Sequence[Program]:
        """Its processes."""

    @property
    def dsn(self) -> str:
        """Its address past all links."""

    def way_of(self, server: str) -> tuple[str, Links]:
        """Return DATABASE_URL for a server, and the links that it leads through."""

    async def start(self) -> None:
        """Start it, until it takes writes."""

    async def end(self) -> None:
        """End it, in whatever state it is."""


class OnePostgres:
    """An embedded PostgreSQL. Each server reaches it through two links, as if it were two hosts."""

    def __init__(self, folder: Path) -> None:
        self._database = EmbeddedPostgres(folder / "data")
        data = str(self._database.data_dir)
        self.programs = [Program("postgres", "tests.system.chaos.postgres", folder, data, dies_by=signal.SIGTERM)]
        self.dsn = self._database.dsn

    def way_of(self, server: str) -> tuple[str, Links]:
        """Return the address of two hosts, which are links to the same socket."""
        socket = self._database.socket_dir / ".s.PGSQL.5432"
        links = Links(*(Link(f"the link from {server} to host {number} of postgres", socket) for number in (1, 2)))
        name = self.dsn.partition("@/")[2].partition("?")[0]
        return f"postgresql://postgres@{links.address}/{name}?sslmode=disable", links

    async def start(self) -> None:
        """Start it, until it answers."""
        await self.programs[0].launch()

    async def end(self) -> None:
        """Shut it down."""
        (postgres,) = self.programs
        postgres.send(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await postgres.end(20)
        postgres.kill_all()


class World:
    """Owns all programs and links of a run."""

    def __init__(
        self,
        folder: Path,
        seed: int,
        rate: float,
        postgres: Postgres | None = None,
        capacity: Capacity = AMPLE,
        **settings: str,
    ) -> None:
        self.journals = folder / "journals"
        self.journals.mkdir(parents=True)
        self._database = postgres or OnePostgres(folder)
        self._settings = {**SERVER_SETTINGS, **settings}
        # Its only process, unless it is a cluster.
        self.postgres = self._database.programs[0]
        self.servers = [self._server(f"server-{n}", folder) for n in (1, 2)]
        self.gateways = [
            self._gateway(f"gateway-{n}", folder, server) for n, server in enumerate(self.servers, start=1)
        ]
        ports = [server.port for server in self.servers], [gateway.port for gateway in self.gateways]
        self.clients = Clients(folder, self.journals, seed, rate, capacity, *ports)
        self.roles = [*self.servers, *self.gateways]
        self.programs = [
            *self._database.programs,
            *(role.program for role in self.roles),
            *self.clients.programs,
        ]
        self._links = [*(link for role in self.roles for link in role.upstream.all), *self.clients.links]

    async def __aenter__(self) -> Self:
        try:
            await asyncio.gather(self._database.start(), *(link.open() for link in self._links))
            await asyncio.gather(*(role.program.launch() for role in self.roles))
            async with self.database() as connection:
                await connection.execute(INSTALL)
            await asyncio.gather(*(program.launch() for program in self.clients.programs))
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """End all programs, in whatever state they are."""
        for program in [*(role.program for role in self.roles), *self.clients.programs]:
            program.kill_all()
        await self._database.end()
        for link in self._links:
            await link.close()

    @contextlib.asynccontextmanager
    async def database(self) -> AsyncIterator[asyncpg.Connection]:
        """Connect to PostgreSQL directly, past all links."""
        connection = await asyncpg.connect(self._database.dsn, timeout=10, command_timeout=60)
        try:
            yield connection
        finally:
            connection.terminate()

    async def start_again(self, program: Program) -> None:
        """Restart a program until it is up, as `thumbq serve` does."""
        for _ in range(_STARTS):
            with contextlib.suppress(LaunchFailed):
                return await program.launch()
            await asyncio.sleep(_START_PAUSE)
        return await program.launch()

    def served_by(self, role: Role) -> set[str]:
        """Return the clients that this server or gateway serves at present, directly or through a gateway."""
        ports = {role.port, *(gateway.port for gateway in self.gateways if gateway.upstream.reaches(role.port))}
        return {client.name for client in self.clients.witnesses if any(map(client.link.reaches, ports))}

    def _server(self, name: str, folder: Path) -> Role:
        database_url, links = self._database.way_of(name)
        clock = Clock(folder / f"{name}.clock")
        port = free_port()
        environment = {
            **self._settings,
            **clock.environment,
            "DATABASE_URL": database_url,
            "THUMBQ_GRPC_PORT": str(port),
        }
        return Role(Program(name, "thumbq_server", folder, environment=environment), port, links, clock)

    @staticmethod
    def _gateway(name: str, folder: Path, server: Role) -> Role:
        link = Link(f"the link from {name} to {server.name}", server.port)
        port = free_port()
        clock = Clock(folder / f"{name}.clock")
        environment = {
            **GATEWAY_SETTINGS,
            **clock.environment,
            "THUMBQ_SERVER": link.address,
            "THUMBQ_HTTP_PORT": str(port),
        }
        return Role(Program(name, "thumbq_gateway", folder, environment=environment), port, Links(link), clock)
