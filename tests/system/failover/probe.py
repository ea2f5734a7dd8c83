"""Asks PostgreSQL without thumbq when a host was promoted and takes writes, and servers when they are ready."""

import asyncio
import contextlib
import time
from collections.abc import Mapping
from typing import Any, Self

import asyncpg
import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.system.failover.hosts import Hosts, N, Node
from thumbq_server.rpc.serving.health import READY

_EVERY = 0.05
_TIMEOUT = 2.0
_AWAY = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
_TABLE = "CREATE TABLE IF NOT EXISTS drill_probe (at timestamptz)"
_WRITE = "INSERT INTO drill_probe VALUES (now())"
_LOOK = "SELECT pg_is_in_recovery(), epoch FROM queue_head"


class Probe:
    """Asks every host all the time whether it is a standby, and writes once where it is not. Hears from the servers."""

    def __init__(self, hosts: Hosts[N], servers: Mapping[str, int]) -> None:
        """`servers` are their names, and their ports."""
        self._hosts = hosts
        self._servers = servers
        # By host: when it said for the first time since it was a standby that it is none, its first write, and when a
        # server had given it another history.
        self.promoted: dict[str, float] = {}
        self.written: dict[str, float] = {}
        self.begun: dict[str, float] = {}
        # By server: when it became ready for the last time.
        self.ready = dict.fromkeys(servers, 0.0)
        self._epochs: dict[str, str] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        connection = await asyncpg.connect(self._hosts.dsn, timeout=10)
        await connection.execute(_TABLE)
        await connection.close()
        duties = [*map(self._watch, self._hosts.nodes), *map(self._hear, self._servers)]
        self._tasks = [asyncio.create_task(duty) for duty in duties]
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
        ((is_standby, epoch),) = await connection.fetch(_LOOK)
        if is_standby:
            self._epochs[node.name] = epoch
            for moments in (self.promoted, self.written, self.begun):
                moments.pop(node.name, None)
            return
        self.promoted.setdefault(node.name, time.time())
        if epoch != self._epochs.get(node.name, epoch):
            self.begun.setdefault(node.name, time.time())
        if node.name not in self.written:
            await connection.execute(_WRITE)
            self.written[node.name] = time.time()

    async def _hear(self, server: str) -> None:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{self._servers[server]}") as channel:
            health: Any = health_pb2_grpc.HealthStub(channel)
            while True:
                with contextlib.suppress(grpc.aio.AioRpcError):
                    async for answer in health.Watch(health_pb2.HealthCheckRequest(service=READY)):
                        if answer.status == health_pb2.HealthCheckResponse.SERVING:
                            self.ready[server] = time.time()
                await asyncio.sleep(_EVERY)
