"""Four hosts with PostgreSQL in a row: when the primary fails, another one is promoted by hand.

They need neither Patroni nor namespaces, and no time runs out before a promotion. A host that has failed stays away.
Each standby is a synchronous one, so that any has every commit that was acknowledged. The primary may have sent more to
one than to another, which then cannot follow: so the one that has most is promoted.
"""

import asyncio
import signal
import time
from pathlib import Path

import asyncpg

from tests.support.postgres.standby import copy_cluster
from tests.support.programs import Program, send_to_descendants
from tests.system.chaos.proxy import Link, Links
from tests.system.failover.faults import Fault
from thumbq_launcher.postgres.cluster import DATABASE
from thumbq_launcher.postgres.embedded import EmbeddedPostgres

_HOSTS = 4
WHOLE_LIMIT = 120.0
_TICK = 0.1
# Seconds in which servers notice the fault.
_UNNOTICED = 2.0
_RECEIVED = "SELECT (greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) - '0/0')::bigint"
_STREAMING = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"
_RETRY = "wal_retrieve_retry_interval = '200ms'\n"
_AWAY = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)


class RowNode:
    """One of the hosts, and the links through which servers reach it."""

    def __init__(self, number: int, folder: Path) -> None:
        self.name = f"node-{number}"
        self.postgres = EmbeddedPostgres(folder / self.name)
        home, module = str(folder / self.name), "tests.system.failover.by_hand.host"
        self.program = Program(self.name, module, folder, home, dies_by=signal.SIGTERM)
        self.links: list[Link] = []
        self.dsn = self.postgres.dsn

    @property
    def primary_conninfo(self) -> str:
        """The setting of those that follow it."""
        return f"'host={self.postgres.socket_dir} user=postgres'"

    def configure(self, primary: "RowNode") -> None:
        """Let it follow a primary, or be the primary itself, which waits for all others."""
        cluster = self.postgres.cluster
        with (cluster / "postgresql.auto.conf").open("a") as settings:
            # What a killed PostgreSQL leaves behind then goes with its folder.
            settings.write(f"dynamic_shared_memory_type = mmap\n{_RETRY}")
            settings.write(f"primary_conninfo = {primary.primary_conninfo}\n")
            settings.write(f"synchronous_standby_names = {_all_of(_HOSTS - 1)}\n")
        if primary is not self:
            (cluster / "standby.signal").touch()

    def kill(self) -> None:
        self.program.expected_up = False
        self.program.kill_all()


class Row:
    """The hosts. A fault promotes another one."""

    faults = (Fault.PROCESS_KILLED, Fault.STOPPED, Fault.PARTITIONED)

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.nodes = [RowNode(number, folder) for number in range(1, _HOSTS + 1)]
        self.programs = [node.program for node in self.nodes]
        self._primary, *self._standbys = self.nodes

    @property
    def dsn(self) -> str:
        """The address of the primary."""
        return self._primary.dsn

    def way_of(self, server: str) -> tuple[str, Links]:
        """Return the address of all hosts, each behind a link."""
        links = Links(*(self._link(server, node) for node in self.nodes))
        return f"postgresql://postgres@{links.address}/{DATABASE}?sslmode=disable", links

    @staticmethod
    def _link(server: str, node: RowNode) -> Link:
        link = Link(f"the link from {server} to {node.name}", node.postgres.socket_dir / ".s.PGSQL.5432")
        node.links.append(link)
        return link

    async def start(self) -> None:
        """Make the first cluster, copy it, and start all."""
        first, *others = self.nodes
        first.postgres.start()
        first.postgres.stop()
        for node in others:
            node.postgres.data_dir.mkdir()
            await asyncio.to_thread(copy_cluster, first.postgres.cluster, node.postgres.cluster)
        for node in self.nodes:
            node.configure(first)
        await asyncio.gather(*(program.launch() for program in self.programs))
        await self.whole()

    async def end(self) -> None:
        """Lose all hosts at once."""
        for node in self.nodes:
            node.kill()

    async def whole(self) -> RowNode:
        """Wait until all standbys that are left follow the primary. Return the primary."""
        deadline = time.monotonic() + WHOLE_LIMIT
        while await _value(self._primary, _STREAMING) != len(self._standbys):
            if time.monotonic() > deadline:
                raise AssertionError(f"the standbys do not follow {self._primary.name} within {WHOLE_LIMIT:g} s")
            await asyncio.sleep(_TICK)
        return self._primary

    async def strike(self, fault: Fault, node: RowNode) -> None:
        """Let the primary fail, and promote another host."""
        match fault:
            case Fault.PROCESS_KILLED:
                node.kill()
            case Fault.STOPPED:
                send_to_descendants(node.program.pid, signal.SIGSTOP)
            case Fault.PARTITIONED:
                for link in node.links:
                    link.fall_silent()
        await asyncio.sleep(_UNNOTICED)
        if fault is Fault.PARTITIONED:
            node.kill()  # before another one is promoted, it must be certain that this one takes no writes
        await self._promote_one()

    async def _promote_one(self) -> None:
        """Promote the standby that has received most, and let the others follow it."""
        received = {each: await _value(each, _RECEIVED) for each in self._standbys}
        assert all(isinstance(much, int) for much in received.values()), f"a standby does not answer: {received}"
        self._primary = new = max(received, key=lambda each: int(str(received[each])))
        self._standbys.remove(new)
        # Until it knows that it has fewer standbys, it acknowledges nothing.
        await _value(new, f"ALTER SYSTEM SET synchronous_standby_names = {_all_of(len(self._standbys))}")
        await _value(new, "SELECT pg_reload_conf()")
        assert await _value(new, "SELECT pg_promote()"), f"{new.name} could not be promoted"
        for other in self._standbys:
            await _value(other, f"ALTER SYSTEM SET primary_conninfo = {new.primary_conninfo}")
            await _value(other, "SELECT pg_reload_conf()")

    async def repair(self, fault: Fault, node: RowNode) -> None:
        """Remove what is left of it."""
        node.kill()
        for link in node.links:
            link.speak()


def _all_of(standbys: int) -> str:
    """Return the value of the setting with which each commit waits for this many standbys."""
    return f"'{standbys} (*)'" if standbys else "''"


async def _value(node: RowNode, statement: str) -> object:
    """Return the value of a statement on a host, None when it does not answer."""
    try:
        connection = await asyncpg.connect(node.dsn, timeout=10, command_timeout=70)
    except _AWAY:
        return None
    try:
        return await connection.fetchval(statement)
    except _AWAY:
        return None
    finally:
        connection.terminate()
