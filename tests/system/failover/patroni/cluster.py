"""Three hosts with PostgreSQL under Patroni. One of them takes writes."""

import asyncio
import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg

from tests.processes import command_line, descendants
from tests.support.programs import Program, send_to_descendants
from tests.system.chaos.proxy import Links
from tests.system.failover.faults import Fault
from tests.system.failover.patroni import rack
from tests.system.failover.patroni.host import POSTGRES_PORT, STATUS_PORT

# Seconds until all three hosts are up and follow the same primary.
WHOLE_LIMIT = 180.0
_TICK = 0.2
_ASK_TIMEOUT = aiohttp.ClientTimeout(total=2)
# What Patroni tells of a host.
_Member = dict[str, Any]


class Node:
    """One of the hosts."""

    def __init__(self, number: int, folder: Path) -> None:
        self.number = number
        self.name = f"node-{number}"
        self.address = rack.address_of(number)
        home = folder / self.name
        home.mkdir()
        self.program = Program(self.name, "tests.system.failover.patroni.node", folder, str(number), str(home))

    @property
    def dsn(self) -> str:
        return f"postgresql://postgres@{self.address}:{POSTGRES_PORT}/thumbq"

    @property
    def host(self) -> int:
        """The first process of the host."""
        first: int = self.program.ready["host"]
        return first

    @property
    def processes_of_postgres(self) -> list[int]:
        """The processes of its PostgreSQL, from the first one on."""
        first = min(each for each in descendants(self.host) if b"/postgres\0-D" in command_line(each))
        return sorted({first, *descendants(first)})


class Cluster:
    """The hosts, and what they say of each other."""

    faults = tuple(Fault)

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.nodes = [Node(number, folder) for number in rack.NUMBERS]
        self.programs = [node.program for node in self.nodes]
        hosts = ",".join(f"{node.address}:{POSTGRES_PORT}" for node in self.nodes)
        self._address = f"postgresql://postgres@{hosts}/thumbq?sslmode=disable"
        self.dsn = f"{self._address}&target_session_attrs=read-write"

    def way_of(self, _server: str) -> tuple[str, Links]:
        """Return the address of all hosts, which no link lies between."""
        return self._address, Links()

    async def start(self) -> None:
        """Start the hosts, and make the database when they are one cluster."""
        await asyncio.gather(*(program.launch() for program in self.programs))
        leader = await self.whole()
        connection = await asyncpg.connect(leader.dsn.replace("/thumbq", "/postgres"), timeout=10)
        await connection.execute("CREATE DATABASE thumbq")
        await connection.close()

    async def end(self) -> None:
        """Lose all hosts at once."""
        for program in self.programs:
            program.kill_all()

    async def whole(self) -> Node:
        """Wait until every host says that both standbys follow the primary, on its timeline. Return the primary."""
        deadline = time.monotonic() + WHOLE_LIMIT
        while (leader := _leader(views := await self._views())) is None:
            if time.monotonic() > deadline:
                raise AssertionError(f"no primary with two standbys within {WHOLE_LIMIT:g} s: {_in_words(views)}")
            await asyncio.sleep(_TICK)
        return next(node for node in self.nodes if node.name == leader)

    async def strike(self, fault: Fault, node: Node) -> None:
        """Let the primary fail."""
        match fault:
            case Fault.PROCESS_KILLED:
                for process in node.processes_of_postgres:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(process, signal.SIGKILL)
            case Fault.HOST_LOST:
                node.program.expected_up = False
                node.program.kill_all()
            case Fault.STOPPED:
                send_to_descendants(node.host, signal.SIGSTOP)
            case Fault.PARTITIONED:
                rack.pull_out(node.host)
            case Fault.CUT_OFF:
                rack.cut_off(node.number)

    async def repair(self, fault: Fault, node: Node) -> None:
        """Put it right again. The host then joins the others as a standby."""
        match fault:
            case Fault.PROCESS_KILLED:
                pass  # Patroni starts it again
            case Fault.HOST_LOST:
                await node.program.launch()
            case Fault.STOPPED:
                await asyncio.to_thread(send_to_descendants, node.host, signal.SIGCONT)
            case Fault.PARTITIONED:
                rack.put_in(node.number, node.host)
            case Fault.CUT_OFF:
                rack.connect(node.number)

    async def change(self, settings: dict[str, Any]) -> None:
        """Change Patroni's settings of the cluster."""
        async with (
            aiohttp.ClientSession(timeout=_ASK_TIMEOUT) as http,
            http.patch(f"http://{self.nodes[0].address}:{STATUS_PORT}/config", json=settings) as response,
        ):
            response.raise_for_status()

    async def _views(self) -> list[list[_Member]]:
        """Return the members of the cluster, as each host tells. One that was cut off tells of the past."""
        async with aiohttp.ClientSession(timeout=_ASK_TIMEOUT) as http:
            return await asyncio.gather(*(_view(http, node) for node in self.nodes))


async def _view(http: aiohttp.ClientSession, node: Node) -> list[_Member]:
    try:
        async with http.get(f"http://{node.address}:{STATUS_PORT}/cluster") as response:
            members: list[_Member] = (await response.json())["members"]
            return members
    except (OSError, TimeoutError, aiohttp.ClientError):
        return []


def _leader(views: list[list[_Member]]) -> str | None:
    """Return the name of the primary when all is well."""
    leaders = {member["name"] for view in views for member in view if member["role"] == "leader"}
    return leaders.pop() if all(map(_is_whole, views)) and len(leaders) == 1 else None


def _is_whole(members: list[_Member]) -> bool:
    roles = sorted(member["role"] for member in members)
    states = sorted(member["state"] for member in members)
    timelines = {member.get("timeline") for member in members}
    follows = states == ["running", "streaming", "streaming"] and len(timelines) == 1
    return follows and roles in (["leader", "replica", "sync_standby"], ["leader", "replica", "replica"])


def _in_words(views: list[list[_Member]]) -> str:
    return " / ".join(
        ", ".join(f"{member['name']} {member['role']} {member['state']}" for member in view) or "no answer"
        for view in views
    )
