"""Databases and roles on the PostgreSQL server of the tests, and PgBouncer in front of it."""

import contextlib
import os
import shutil
import subprocess
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from tests.processes import wait_until
from tests.support.network.ports import free_port
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from thumbq_server.storage.postgres.address import Address


# The variable with the port of the pooler, while the tests run behind one.
POOLER_PORT = "THUMBQ_TEST_POOLER_PORT"


def database_at(server: str, name: str) -> str:
    """Return the DSN of another database on the same server."""
    return urlunsplit(urlsplit(server)._replace(path=f"/{name}"))


def around_pooler(address: str) -> str:
    """Return the address at which a server listens: with sessions, also when the tests run behind a pooler."""
    return f"{address}{'&' if '?' in address else '?'}pooler=session" if POOLER_PORT in os.environ else address


def for_programs(address: str) -> dict[str, str]:
    """Return what tells a program where a database is: at the pooler, when the tests run behind one."""
    if POOLER_PORT not in os.environ:
        return {"DATABASE_URL": address}
    return {"DATABASE_URL": at_pooler(address, os.environ[POOLER_PORT]), "THUMBQ_LISTEN_URL": around_pooler(address)}


def at_pooler(address: str, port: int | str) -> str:
    """Return the address of the same database at a pooler."""
    from thumbq_server.storage.postgres.address import parse_address

    place = parse_address(address)
    return f"postgresql://{place.user}@127.0.0.1:{port}/{place.database}?sslmode=disable"


async def let_go(address: str) -> None:
    """Have the pooler, when the tests run behind one, close its connections to a database."""
    if POOLER_PORT not in os.environ:
        return
    # KILL would end PgBouncer 1.18 itself when a client has just connected.
    await tell_pooler(at_pooler(address, os.environ[POOLER_PORT]), f"RECONNECT {urlsplit(address).path[1:]}")


async def reached_again(address: str) -> None:
    """Wait until the pooler, when the tests run behind one, has found out that a database takes connections again."""
    if POOLER_PORT not in os.environ:
        return

    async def is_reached() -> bool:
        with contextlib.suppress(asyncpg.PostgresError):
            connection = await asyncpg.connect(at_pooler(address, os.environ[POOLER_PORT]))
            try:
                return bool(await connection.execute("SELECT 1"))
            finally:
                connection.terminate()
        return False

    await eventually(is_reached)


async def tell_pooler(address: str, *commands: str) -> None:
    """Give these commands of an operator to the PgBouncer at an address."""
    console = await asyncpg.connect(database_at(address, "pgbouncer"))
    try:
        for command in commands:
            await console.execute(command)
    finally:
        console.terminate()


@contextlib.contextmanager
def pooled(address: str, mode: str, folder: Path, **settings: object) -> Iterator[str]:
    """The address of Debian's PgBouncer in front of `address`, with these settings of PgBouncer."""
    from thumbq_server.storage.postgres.address import parse_address

    place = parse_address(address)
    process, port = launch_pooler(place, mode, folder, **settings)
    try:
        yield at_pooler(address, port)
    finally:
        end_pooler(process)


def end_pooler(process: subprocess.Popen[bytes]) -> None:
    """End a PgBouncer. On SIGTERM it would wait for its clients, from 1.23 on."""
    process.kill()
    process.communicate()


def launch_pooler(
    place: "Address", mode: str, folder: Path, own_port: int = 0, /, **settings: object
) -> tuple[subprocess.Popen[bytes], int]:
    """Start PgBouncer in front of a place. Return its process and its port when it serves."""
    ((socket_folder, port),) = place.hosts
    own_port = own_port or free_port()
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n{place.database} = host={socket_folder} port={port} user={place.user}\n[pgbouncer]\n"
        f"listen_addr = 127.0.0.1\nlisten_port = {own_port}\nunix_socket_dir =\nauth_type = any\n"
        f"admin_users = {place.user}\n"
        f"pool_mode = {mode}\n" + "".join(f"{name} = {value}\n" for name, value in settings.items())
    )
    # PgBouncer refuses to run as root. As another user it keeps root's right to the folders of the tests.
    right = "--inh-caps=+dac_override", "--ambient-caps=+dac_override"
    as_another = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *right] if os.geteuid() == 0 else []
    program = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
    messages = folder / "messages"
    with messages.open("wb") as log:
        process = subprocess.Popen([*as_another, program, str(folder / "pgbouncer.ini")], stderr=log)
    try:
        wait_until(lambda: b"process up" in messages.read_bytes() or process.poll() is not None, "a PgBouncer's word")
        assert process.poll() is None, messages.read_text()
    except BaseException:
        end_pooler(process)
        raise
    return process, own_port


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
