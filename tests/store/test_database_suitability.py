import asyncio
import contextlib
import os
import shutil
import socket
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from tests.support.databases import database_at
from thumbq_server.storage.postgres.address import InvalidAddress, parse_address
from thumbq_server.storage.postgres.errors import Unavailable
from thumbq_server.storage.postgres.suitability import Unsuitable, check_database

ENOUGH = 12


@contextlib.asynccontextmanager
async def pooled(address: str, mode: str, folder: Path) -> AsyncIterator[str]:
    """The address of Debian's PgBouncer in front of `address`."""
    place = parse_address(address)
    ((socket_folder, port),) = place.hosts
    own_port = free_port()
    (folder / "users").write_text(f'"{place.user}" ""\n')
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n{place.database} = host={socket_folder} port={port} user={place.user}\n[pgbouncer]\n"
        f"listen_addr = 127.0.0.1\nlisten_port = {own_port}\nunix_socket_dir =\nauth_type = any\n"
        f"pool_mode = {mode}\nignore_startup_parameters = extra_float_digits,options,search_path\n"
    )
    # PgBouncer refuses to run as root; under another name it still reaches the socket of the embedded PostgreSQL.
    as_another = ["unshare", "--user", "--map-user=1000", "--map-group=1000"] if os.geteuid() == 0 else []
    program = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
    process = await asyncio.create_subprocess_exec(
        *as_another, program, str(folder / "pgbouncer.ini"), stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr
    try:
        async for line in process.stderr:
            if b"process up" in line:
                break
        yield f"postgresql://{place.user}@127.0.0.1:{own_port}/{place.database}?sslmode=disable"
    finally:
        process.terminate()
        await process.communicate()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture
async def server(postgres: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(postgres)
    yield connection
    await connection.close()


@contextlib.asynccontextmanager
async def database(server: asyncpg.Connection, postgres: str, options: str = "") -> AsyncIterator[str]:
    """The address of an empty database that was created with `options`."""
    name = f"thumbq_suitability_{uuid.uuid4().hex[:8]}"
    await server.execute(f"CREATE DATABASE {name} {options}")
    try:
        yield database_at(postgres, name)
    finally:
        await server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextlib.asynccontextmanager
async def role(server: asyncpg.Connection, address: str) -> AsyncIterator[tuple[str, str]]:
    """A new role's name, and the address with it."""
    name = f"thumbq_role_{uuid.uuid4().hex[:8]}"
    await server.execute(f"CREATE ROLE {name} LOGIN")
    parts = urlsplit(address)
    try:
        place = parts.netloc.rpartition("@")[2]
        yield name, urlunsplit(parts._replace(netloc=f"{name}@{place}"))
    finally:
        await server.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")


async def test_a_plain_database_is_suitable(server, postgres):
    async with database(server, postgres) as address:
        await check_database(address, ENOUGH)


@pytest.mark.parametrize("options", ["ENCODING 'LATIN1'", "ENCODING 'SQL_ASCII'"], ids=["latin1", "no encoding"])
async def test_another_encoding_is_refused(server, postgres, options):
    options = f"TEMPLATE template0 {options} LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C'"
    async with database(server, postgres, options) as address:
        with pytest.raises(Unsuitable, match="ENCODING 'UTF8'"):
            await check_database(address, ENOUGH)


async def test_commits_that_a_crash_can_lose_are_refused(server, postgres):
    async with database(server, postgres) as address, role(server, address) as (name, as_role):
        await server.execute(f"ALTER ROLE {name} SET synchronous_commit = off")
        with pytest.raises(Unsuitable, match=f"synchronous_commit is off for {name}"):
            await check_database(as_role, ENOUGH)


async def test_a_role_that_may_not_create_tables_is_told_the_grant(server, postgres):
    async with database(server, postgres) as address, role(server, address) as (name, as_role):
        with pytest.raises(Unsuitable, match=f"GRANT CREATE ON SCHEMA public TO {name}"):
            await check_database(as_role, ENOUGH)


async def test_a_search_path_without_a_schema_is_refused(server, postgres):
    async with database(server, postgres) as address:
        with pytest.raises(Unsuitable, match="No schema of the search_path"):
            await check_database(f"{address}{'&' if '?' in address else '?'}schema=nowhere", ENOUGH)


async def test_a_read_only_database_is_refused(server, postgres):
    async with database(server, postgres) as address, role(server, address) as (name, as_role):
        await server.execute(f"ALTER ROLE {name} SET default_transaction_read_only = on")
        with pytest.raises(Unsuitable, match="takes no writes"):
            await check_database(as_role, ENOUGH)


async def test_too_few_connections_are_refused(server, postgres):
    async with database(server, postgres) as address:
        with pytest.raises(Unsuitable, match=r"needs 100000 connections .* raise max_connections"):
            await check_database(address, 100_000)


async def test_a_database_that_is_not_there_is_named(postgres):
    with pytest.raises(Unsuitable, match='database "nowhere" does not exist'):
        await check_database(database_at(postgres, "nowhere"), ENOUGH)


async def test_a_role_that_is_not_there_is_named(server, postgres):
    parts = urlsplit(postgres)
    stranger = urlunsplit(parts._replace(netloc=f"stranger@{parts.netloc.rpartition('@')[2]}"))
    with pytest.raises(Unsuitable, match='role "stranger" does not exist'):
        await check_database(stranger, ENOUGH)


async def test_a_host_that_is_not_there_is_only_away(unused_tcp_port):
    with pytest.raises(Unavailable):
        await check_database(f"postgresql://queue@127.0.0.1:{unused_tcp_port}/thumbs", ENOUGH)


async def test_a_pooler_in_transaction_mode_is_refused_and_one_in_session_mode_is_not(server, postgres, tmp_path):
    async with database(server, postgres) as address:
        async with pooled(address, "transaction", tmp_path) as behind_pooler:
            with pytest.raises(Unsuitable, match="transaction mode"):
                await check_database(behind_pooler, ENOUGH)
        async with pooled(address, "session", tmp_path) as behind_pooler:
            await check_database(behind_pooler, ENOUGH)


async def test_an_address_that_cannot_be_read_is_refused():
    with pytest.raises(InvalidAddress):
        await check_database("mysql://db/thumbs", ENOUGH)
