"""PgBouncer in transaction mode in front of a database, without support for prepared statements."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

from bench.running import processes
from bench.running.processes import Failed, Process
from thumbq_runtime.addresses import free_port
from thumbq_server.storage.postgres.address import parse_address

# Debian has it outside the PATH of most users.
_PROGRAM = "/usr/sbin/pgbouncer"
_START_LIMIT = 10.0  # seconds


@contextlib.asynccontextmanager
async def pooler(dsn: str, folder: Path, **settings: object) -> AsyncIterator[tuple[Process, str]]:
    """Start PgBouncer with these settings of its own; yield its process, and the address of the database at it."""
    place = parse_address(dsn)
    ((socket_folder, port),) = place.hosts
    own_port = free_port("127.0.0.1", 0)
    lines = {
        "listen_addr": "127.0.0.1",
        "listen_port": own_port,
        "unix_socket_dir": "",
        "auth_type": "any",
        "pool_mode": "transaction",
        **settings,
    }
    configuration = folder / "pgbouncer.ini"
    configuration.write_text(
        f"[databases]\n{place.database} = host={socket_folder} port={port} user={place.user}\n[pgbouncer]\n"
        + "".join(f"{name} = {value}\n" for name, value in lines.items())
    )
    # PgBouncer refuses to run as root. As another user it keeps root's right to the folders of the benchmark.
    right = "--inh-caps=+dac_override", "--ambient-caps=+dac_override"
    as_another = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *right] if os.geteuid() == 0 else []
    log = folder / "pgbouncer.log"
    async with processes.running([*as_another, _PROGRAM, str(configuration)], log) as process:
        await _until_it_serves(process)
        yield process, f"postgresql://{place.user}@127.0.0.1:{own_port}/{place.database}?sslmode=disable"


async def _until_it_serves(process: Process) -> None:
    try:
        async with asyncio.timeout(_START_LIMIT):
            while b"process up" not in process.log.read_bytes():
                process.check()
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise Failed("PgBouncer does not start") from None
