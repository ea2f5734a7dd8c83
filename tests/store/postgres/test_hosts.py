import asyncio
import os
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest

from tests.support.postgres.databases import new_role
from tests.support.waiting import eventually
from thumbq_server.storage.postgres.address import parse_address
from thumbq_server.storage.postgres.hosts import Hosts


class SilentHost:
    """A host that takes connections and never says a word, as a frozen one does."""

    def __init__(self) -> None:
        self.port = 0
        self.connections = 0

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while await reader.read(1024):
            pass
        writer.close()


class FreezingHost(SilentHost):
    """A host that lets a session and a transaction begin, and then never says a word."""

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        await reader.readexactly(int.from_bytes(await reader.readexactly(4)) - 4)
        settings = {"server_version": "15.0", "in_hot_standby": "off", "default_transaction_read_only": "off"}
        told = [b"S" + with_length(f"{name}\0{value}\0".encode()) for name, value in settings.items()]
        writer.write(b"R" + with_length(bytes(4)) + b"".join(told) + b"K" + with_length(bytes(8)))
        writer.write(b"Z" + with_length(b"I"))
        if (await reader.read(1)) == b"Q":
            writer.write(b"C" + with_length(b"BEGIN\0") + b"Z" + with_length(b"T"))
        while await reader.read(1024):
            pass
        writer.close()


def with_length(body: bytes) -> bytes:
    return (len(body) + 4).to_bytes(4) + body


async def listening(host: SilentHost) -> AsyncIterator[SilentHost]:
    server = await asyncio.start_server(host.take, "127.0.0.1", 0)
    host.port = server.sockets[0].getsockname()[1]
    yield host
    server.close()


@pytest.fixture
async def silent() -> AsyncIterator[SilentHost]:
    async for host in listening(SilentHost()):
        yield host


@pytest.fixture
async def freezing() -> AsyncIterator[SilentHost]:
    async for host in listening(FreezingHost()):
        yield host


def hosts(database_url: str, first: int, seconds: int = 2, mode: str = "") -> Hosts:
    """The test's database behind another host, which is tried first."""
    address = parse_address(database_url)
    (real,) = address.hosts
    place = real[0].replace("/", "%2F")
    both = f"postgresql://{address.user}@127.0.0.1:{first},{place}:{real[1]}/{address.database}"
    return Hosts(parse_address(f"{both}?connect_timeout={seconds}&sslmode=disable{mode}"))


async def test_a_frozen_first_host_costs_its_time_limit_once(database_url, silent):
    both = hosts(database_url, silent.port)
    for _ in range(3):
        connection = await both.connect({})
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close()
    assert silent.connections == 1


async def test_a_standby_is_found_as_soon_as_it_is_promoted_while_another_host_is_frozen(database_url, silent):
    """The frozen host has an hour to answer, so the standby must be asked again meanwhile."""
    both = hosts(database_url, silent.port, seconds=3600)
    admin = await asyncpg.connect(database_url)
    database = await admin.fetchval("SELECT current_database()")
    await admin.execute(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    connecting = asyncio.create_task(both.connect({}))

    async def refused() -> bool:
        return both.in_trouble

    await eventually(refused, timeout=30)
    await admin.execute("SET default_transaction_read_only = off")
    await admin.execute(f"ALTER DATABASE {database} RESET default_transaction_read_only")
    async with asyncio.timeout(60):
        connection = await connecting
    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()
    await admin.close()
    assert silent.connections == 2  # the one that found it silent, and the search


@pytest.mark.parametrize("mode", ["", "&pooler=session"])
async def test_a_host_that_freezes_when_it_has_let_a_server_in_keeps_no_promoted_one_waiting(
    database_url, freezing, mode
):
    both = hosts(database_url, freezing.port, mode=mode)
    admin = await asyncpg.connect(database_url)
    database = await admin.fetchval("SELECT current_database()")
    await admin.execute(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    async with asyncio.timeout(60):
        with pytest.raises((TimeoutError, asyncpg.InterfaceError)):
            await both.connect({})
    await admin.execute("SET default_transaction_read_only = off")
    await admin.execute(f"ALTER DATABASE {database} RESET default_transaction_read_only")
    async with asyncio.timeout(60):
        connection = await both.connect({})
    assert await connection.fetchval("SELECT 1") == 1
    assert freezing.connections
    await connection.close()
    await admin.close()


async def test_one_search_is_for_all_who_wait_for_a_primary(database_url, silent):
    """Each connection of its own would ask all hosts four times a second."""
    both = hosts(database_url, silent.port, seconds=3600)
    admin = await asyncpg.connect(database_url)
    database = await admin.fetchval("SELECT current_database()")
    await admin.execute(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    first = asyncio.create_task(both.connect({}))

    async def refused() -> bool:
        return both.in_trouble

    await eventually(refused, timeout=30)
    others = [asyncio.create_task(both.connect({"application_name": f"other {number}"})) for number in range(20)]

    async def search_was_begun() -> bool:
        return bool(silent.connections == 2)

    await eventually(search_was_begun, timeout=30)
    await admin.execute("SET default_transaction_read_only = off")
    await admin.execute(f"ALTER DATABASE {database} RESET default_transaction_read_only")
    async with asyncio.timeout(60):
        connections = [await each for each in (first, *others)]
    assert silent.connections == 2
    assert {await each.fetchval("SHOW application_name") for each in connections[1:]} == {
        f"other {number}" for number in range(20)
    }
    for connection in (*connections, admin):
        await connection.close()


async def test_a_first_host_that_is_down_is_passed_over(database_url, unused_tcp_port):
    connection = await hosts(database_url, unused_tcp_port).connect({})
    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()


async def test_all_hosts_away_is_the_error_of_the_last_one(silent, unused_tcp_port):
    away = f"postgresql://queue@127.0.0.1:{silent.port},127.0.0.1:{unused_tcp_port}/thumbs?connect_timeout=2"
    with pytest.raises(OSError, match="Connect call failed"):
        await Hosts(parse_address(away)).connect({})


async def test_a_host_that_is_away_counts_more_than_one_that_will_never_do(database_url, unused_tcp_port):
    """A start is refused only where waiting cannot help, wherever in the address the hosts stand."""
    admin = await asyncpg.connect(database_url)
    database = await admin.fetchval("SELECT current_database()")
    await admin.execute(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    both = hosts(database_url, unused_tcp_port).address
    for order in (both.hosts, both.hosts[::-1]):
        with pytest.raises(OSError, match="Connect call failed"):
            await Hosts(replace(both, hosts=order)).connect({})
    with pytest.raises(asyncpg.TargetServerAttributeNotMatched):
        await Hosts(replace(both, hosts=both.hosts[1:] * 2)).connect({})
    await admin.execute("SET default_transaction_read_only = off")
    await admin.execute(f"ALTER DATABASE {database} RESET default_transaction_read_only")
    await admin.close()


@pytest.mark.sessions("counts the connections of a role")
async def test_a_host_that_was_full_is_not_asked_again_whether_a_pooler_is_there(database_url):
    """The question is a connection, too: it would take the only place that is free, and leave it a moment too late."""
    admin = await asyncpg.connect(database_url)
    async with new_role(admin, database_url) as (role, address):
        known = Hosts(parse_address(address))
        holder = await known.connect({})
        await admin.execute(f"ALTER ROLE {role} CONNECTION LIMIT 1")
        for _ in range(10):
            with pytest.raises(asyncpg.TooManyConnectionsError):
                await known.connect({})
            process = await holder.fetchval("SELECT pg_backend_pid()")
            assert await admin.fetchval("SELECT pg_terminate_backend($1, 10000)", process)
            holder = await known.connect({})
        await holder.close()
    await admin.close()


@contextmanager
def as_an_ordinary_user() -> Iterator[None]:
    """Be no root for a while: root may use every socket."""
    user = os.geteuid()
    if not user:
        os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(user)


def there_is_none(_folder: Path) -> None:
    """Leave the folder without a socket."""


def another_file_is_there(folder: Path) -> None:
    (folder / ".s.PGSQL.5432").touch()


def nobody_may_look(folder: Path) -> None:
    folder.chmod(0)


@pytest.mark.parametrize("prepare", [there_is_none, another_file_is_there, nobody_may_look])
async def test_the_error_names_the_socket_that_cannot_be_used(tmp_path: Path, prepare: Callable[[Path], None]) -> None:
    folder = tmp_path / "socket"
    folder.mkdir()
    prepare(folder)
    try:
        with as_an_ordinary_user(), pytest.raises(OSError, match=re.escape(f"{folder}/.s.PGSQL.5432")):
            await Hosts(parse_address(f"postgresql://queue@/thumbs?host={folder}")).connect({})
    finally:
        folder.chmod(0o700)
