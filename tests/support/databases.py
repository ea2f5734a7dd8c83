"""Databases and roles on the PostgreSQL server of the tests, and PgBouncer in front of it."""

import asyncio
import contextlib
import os
import shutil
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from tests.support.ports import free_port


def database_at(server: str, name: str) -> str:
    """Return the DSN of another database on the same server."""
    return urlunsplit(urlsplit(server)._replace(path=f"/{name}"))


@contextlib.asynccontextmanager
async def pooled(address: str, mode: str, folder: Path, **settings: object) -> AsyncIterator[str]:
    """The address of Debian's PgBouncer in front of `address`, with these settings of PgBouncer."""
    from thumbq_server.storage.postgres.address import parse_address

    place = parse_address(address)
    ((socket_folder, port),) = place.hosts
    own_port = free_port()
    (folder / "users").write_text(f'"{place.user}" ""\n')
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n{place.database} = host={socket_folder} port={port} user={place.user}\n[pgbouncer]\n"
        f"listen_addr = 127.0.0.1\nlisten_port = {own_port}\nunix_socket_dir =\nauth_type = any\n"
        f"pool_mode = {mode}\n" + "".join(f"{name} = {value}\n" for name, value in settings.items())
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


@contextlib.asynccontextmanager
async def new_database(server: asyncpg.Connection, postgres: str, options: str = "") -> AsyncIterator[str]:
    """The address of an empty database that was created with `options`."""
    name = f"thumbq_suitability_{uuid.uuid4().hex[:8]}"
    await server.execute(f"CREATE DATABASE {name} {options}")
    try:
        yield database_at(postgres, name)
    finally:
        await server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextlib.asynccontextmanager
async def new_role(server: asyncpg.Connection, address: str) -> AsyncIterator[tuple[str, str]]:
    """A new role's name, and the address with it."""
    name = f"thumbq_role_{uuid.uuid4().hex[:8]}"
    await server.execute(f"CREATE ROLE {name} LOGIN")
    parts = urlsplit(address)
    try:
        place = parts.netloc.rpartition("@")[2]
        yield name, urlunsplit(parts._replace(netloc=f"{name}@{place}"))
    finally:
        await server.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")
