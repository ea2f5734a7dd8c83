"""What runs, and the wires between: PostgreSQL, two servers, two gateways and their clients.

Every wire is a `Link`, so that it can be cut:

    sdk-1 ── server-1 ── postgres      gateway-1 ── server-1      json-legacy, page-1 ── gateway-1
    sdk-2 ── server-2 ── postgres      gateway-2 ── server-2      json-fenced, page-2 ── gateway-2
    sdk-3, producers ── either server  page-3 ── either gateway
"""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Self

import asyncpg

from tests.system.chaos.clients import Clients
from tests.system.chaos.history import INSTALL
from tests.system.chaos.processes import LaunchFailed, Program, free_port
from tests.system.chaos.proxy import Link
from thumbq_launcher.postgres.embedded import EmbeddedPostgres

# Seconds, short so that every recovery is. A worker that is stopped for longer than its lease comes back as a zombie.
LEASE = 3
SERVER_SETTINGS = {
    "THUMBQ_LEASE_DURATION": str(LEASE),
    "THUMBQ_DELIVERY_LEASE_DURATION": "2",
    "THUMBQ_HEARTBEAT_INTERVAL": "0.5",
    "THUMBQ_UNARY_LEASE_DURATION": "4",
    "THUMBQ_RETRY_BASE": "0.1",
    "THUMBQ_RETRY_CAP": "1.0",
    "THUMBQ_SHUTDOWN_GRACE": "3",
}
GATEWAY_SETTINGS = {"THUMBQ_HEARTBEAT": "2"}
_STARTS = 100
_START_PAUSE = 0.3


class Role:
    """A server or a gateway at a port of its own, and the wire to what it depends on."""

    def __init__(self, program: Program, port: int, upstream: Link) -> None:
        self.program = program
        self.port = port
        self.upstream = upstream

    @property
    def name(self) -> str:
        return self.program.name


class World:
    """Owns all programs and links of a run."""

    def __init__(self, folder: Path, seed: int, rate: float) -> None:
        self.journals = folder / "journals"
        self.journals.mkdir(parents=True)
        database = EmbeddedPostgres(folder / "data")
        self.dsn = database.dsn
        self.postgres = Program(
            "postgres", "tests.system.chaos.postgres", folder, str(database.data_dir), dies_by=signal.SIGTERM
        )
        self.servers = [self._server(f"server-{n}", folder, database) for n in (1, 2)]
        self.gateways = [
            self._gateway(f"gateway-{n}", folder, server) for n, server in enumerate(self.servers, start=1)
        ]
        ports = [server.port for server in self.servers], [gateway.port for gateway in self.gateways]
        self.clients = Clients(folder, self.journals, seed, rate, *ports)
        self.roles = [*self.servers, *self.gateways]
        self.programs = [self.postgres, *(role.program for role in self.roles), *self.clients.programs]
        self._links = [*(role.upstream for role in self.roles), *self.clients.links]

    async def __aenter__(self) -> Self:
        try:
            await asyncio.gather(self.postgres.launch(), *(link.open() for link in self._links))
            await asyncio.gather(*(role.program.launch() for role in self.roles))
            async with self.database() as connection:
                await connection.execute(INSTALL)
            await asyncio.gather(*(program.launch() for program in self.clients.programs))
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Ends everything, whatever state it is in."""
        for program in self.programs[1:]:
            program.kill_all()
        self.postgres.send(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await self.postgres.end(20)
        self.postgres.kill_all()
        for link in self._links:
            await link.close()

    @contextlib.asynccontextmanager
    async def database(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection to PostgreSQL that no fault of a wire reaches."""
        connection = await asyncpg.connect(self.dsn, timeout=10, command_timeout=60)
        try:
            yield connection
        finally:
            connection.terminate()

    async def start_again(self, program: Program) -> None:
        """As the parent in `thumbq serve` does it: until the program is up."""
        for _ in range(_STARTS):
            with contextlib.suppress(LaunchFailed):
                return await program.launch()
            await asyncio.sleep(_START_PAUSE)
        return await program.launch()

    def served_by(self, role: Role) -> set[str]:
        """The clients that this server or gateway serves at present, be it through another."""
        ports = {role.port, *(gateway.port for gateway in self.gateways if gateway.upstream.reaches(role.port))}
        return {client.name for client in self.clients.witnesses if any(map(client.link.reaches, ports))}

    @staticmethod
    def _server(name: str, folder: Path, database: EmbeddedPostgres) -> Role:
        wire = Link(f"the wire from {name} to postgres", database.socket_dir / ".s.PGSQL.5432")
        name_of_database = database.dsn.partition("@/")[2].partition("?")[0]
        port = free_port()
        environment = {
            **SERVER_SETTINGS,
            "DATABASE_URL": f"postgresql://postgres@{wire.address}/{name_of_database}?sslmode=disable",
            "THUMBQ_GRPC_PORT": str(port),
        }
        return Role(Program(name, "thumbq_server", folder, environment=environment), port, wire)

    @staticmethod
    def _gateway(name: str, folder: Path, server: Role) -> Role:
        wire = Link(f"the wire from {name} to {server.name}", server.port)
        port = free_port()
        environment = {**GATEWAY_SETTINGS, "THUMBQ_SERVER": wire.address, "THUMBQ_HTTP_PORT": str(port)}
        return Role(Program(name, "thumbq_gateway", folder, environment=environment), port, wire)
