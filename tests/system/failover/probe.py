"""A client of PostgreSQL without thumbq: it finds out when a host was promoted, and when the cluster takes writes."""

import asyncio
import time
from typing import Self

import asyncpg

from tests.system.failover.cluster import Cluster, Node

_EVERY = 0.05
_TIMEOUT = 2.0
_AWAY = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
_TABLE = "CREATE TABLE IF NOT EXISTS drill_probe (at timestamptz)"
_WRITE = "INSERT INTO drill_probe VALUES (now())"


class Probe:
    """Asks every host all the time whether it is a standby, and writes where it is not."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        # By host: when it said for the first time since it was a standby that it is none, and its newest write.
        self.promoted: dict[str, float] = {}
        self.written: dict[str, float] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        connection = await asyncpg.connect(self._cluster.dsn, timeout=10)
        await connection.execute(_TABLE)
        await connection.close()
        self._tasks = [asyncio.create_task(self._watch(node)) for node in self._cluster.nodes]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def writes(self, since: float, old: Node, seconds: float) -> str | None:
        """Wait until another host than the old primary takes writes. Return its name; None after `seconds`."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for name, at in self.written.items():
                if at > since and name != old.name:
                    return name
            await asyncio.sleep(_EVERY)
        return None

    async def _watch(self, node: Node) -> None:
        while True:
            connection = None
            try:
                connection = await asyncpg.connect(node.dsn, timeout=_TIMEOUT, command_timeout=_TIMEOUT)
                while True:
                    await self._look(node, connection)
                    await asyncio.sleep(_EVERY)
            except _AWAY:
                await asyncio.sleep(_EVERY)
            finally:
                if connection is not None:
                    connection.terminate()

    async def _look(self, node: Node, connection: asyncpg.Connection) -> None:
        if await connection.fetchval("SELECT pg_is_in_recovery()"):
            self.promoted.pop(node.name, None)
            self.written.pop(node.name, None)
            return
        self.promoted.setdefault(node.name, time.time())
        await connection.execute(_WRITE)
        self.written.setdefault(node.name, time.time())
