"""`python -m thumbq_launcher`: the parent process of `thumbq serve`.

It owns the embedded PostgreSQL, the servers and the gateways. The environment configures it, and it configures
its children in the same way.
"""

import asyncio
import os
import secrets
import signal
import sys
import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from thumbq_launcher.console import inform, warn
from thumbq_launcher.postgres.embedded import AT_ONCE, ORDERLY, EmbeddedPostgres
from thumbq_launcher.processes import Child, LaunchFailed, LaunchRefused, PostgresChild, Program
from thumbq_launcher.settings import DECIDED_HERE, LauncherSettings
from thumbq_launcher.supervisor import end_programs, keep_running, launch_side_by_side
from thumbq_runtime.addresses import CannotListen, fits_a_socket, free_port, reachable_address
from thumbq_runtime.connections import connections_granted
from thumbq_runtime.logs.lines import is_json, tell_of_lost_lines_as_json
from thumbq_runtime.logs.settings import LOG_LEVEL
from thumbq_runtime.logs.standard_streams import protect_standard_streams
from thumbq_runtime.process.lifecycle import on_hangups, on_signals
from thumbq_runtime.process.refusal import EXIT_REFUSED, refuse
from thumbq_runtime.settings.declaration import InvalidSetting, Setting
from thumbq_runtime.settings.environment import reach_this_machine_directly, warn_of_strangers
from thumbq_runtime.settings.shared import (
    DATABASE_FOLDER,
    DATABASE_URL,
    GATEWAY_SECRET,
    GATEWAY_SECRET_FILE,
    GRPC_HOST,
    GRPC_PORT,
    GRPC_SOCKET,
    HTTP_HOST,
    HTTP_PORT,
    HUB_SECRET,
    HUB_SECRET_FILE,
    METRICS_PORT,
    SERVER,
    THUMBNAIL_ROOT,
    THUMBNAIL_ROOTS,
)

# Seconds that a program gets after its own grace to close what is open.
CLOSING_SECONDS = 3.0


async def serve(settings: LauncherSettings) -> None:
    """Run everything until SIGTERM or SIGINT; a second signal ends it at once. Raises LaunchFailed, CannotListen."""
    asked, at_once = asyncio.Event(), asyncio.Event()
    on_signals(asked.set, at_once.set)
    free_port(settings.grpc_host, settings.grpc_port)
    free_port(settings.http_host, settings.http_port)
    postgres, database_url = None, settings.database_url
    if not database_url:
        granted = connections_granted(settings.processes, settings.database_connections)
        postgres = PostgresChild(EmbeddedPostgres(settings.data_dir, max_connections=granted))
        database_url = postgres.postgres.dsn
    sockets = ExitStack()
    servers, gateways = _programs(settings, database_url, postgres.postgres.cluster if postgres else None)
    on_hangups(partial(_hang_up, [*servers, *gateways]))
    if settings.tls:
        # The certificate is for names at which others reach us, which need not be ours.
        folder = Path(sockets.enter_context(tempfile.TemporaryDirectory(prefix="thumbq-")))
        _join_by_sockets(servers, gateways, folder)
    work = asyncio.create_task(_run(settings, postgres, servers, gateways))
    stop = asyncio.create_task(asked.wait())
    try:
        await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            await work
    finally:
        work.cancel()
        stop.cancel()
        await end_programs([*gateways, *servers], settings.shutdown_grace + CLOSING_SECONDS, at_once)
        if postgres:
            await _stop_postgres(postgres.postgres, at_once)
        sockets.close()


async def _run(
    settings: LauncherSettings, postgres: PostgresChild | None, servers: list[Program], gateways: list[Program]
) -> None:
    # They load their libraries while PostgreSQL starts.
    for program in (*servers, *gateways):
        program.begin()
    if postgres:
        await postgres.launch()
    address = reachable_address(settings.grpc_host, await launch_side_by_side(servers, settings.grpc_host))
    if not settings.tls:
        for gateway in gateways:
            gateway.environment[SERVER.variable] = address
    page = reachable_address(settings.http_host, await launch_side_by_side(gateways, settings.http_host))
    inform(f"page and JSON API  {'https' if settings.tls else 'http'}://{page}/")
    inform(f"gRPC               {'grpcs://' if settings.tls else ''}{address}")
    inform(f"data folder        {settings.data_dir}")
    children: list[Child] = [*([postgres] if postgres else []), *servers, *gateways]
    await asyncio.gather(*(keep_running(child) for child in children))


def _programs(
    settings: LauncherSettings, database_url: str, database_folder: Path | None = None
) -> tuple[list[Program], list[Program]]:
    """Return the servers and the gateways, not yet launched. `database_folder` is that of a PostgreSQL of our own."""
    environment = {name: value for name, value in os.environ.items() if name not in DECIDED_HERE}
    environment |= {
        DATABASE_URL.variable: database_url,
        THUMBNAIL_ROOT.variable: str(settings.thumbnail_root),
        THUMBNAIL_ROOTS.variable: settings.thumbnail_roots,
        GRPC_HOST.variable: settings.grpc_host,
        HTTP_HOST.variable: settings.http_host,
    }
    if database_folder:
        environment[DATABASE_FOLDER.variable] = str(database_folder)
    if not HUB_SECRET.read(environment) and not HUB_SECRET_FILE.read(environment):
        environment[HUB_SECRET.variable] = secrets.token_hex(32)
    if not GATEWAY_SECRET.read(environment) and not GATEWAY_SECRET_FILE.read(environment):
        environment[GATEWAY_SECRET.variable] = secrets.token_hex(32)
    # -P: a file in the current folder must not be imported in place of a library.
    python = [sys.executable, "-P", "-m"]

    def several(name: str, port_setting: Setting[int], port: int) -> list[Program]:
        command = [*python, f"thumbq_{name}"]
        return [Program(name, command, environment, port_setting, port) for _ in range(settings.processes)]

    servers = several("server", GRPC_PORT, settings.grpc_port)
    for number, server in enumerate(servers if settings.metrics_port else ()):
        server.environment[METRICS_PORT.variable] = str((settings.metrics_port or 0) + number)
    return servers, several("gateway", HTTP_PORT, settings.http_port)


def _hang_up(programs: list[Program]) -> None:
    for program in programs:
        program.hang_up()


def _join_by_sockets(servers: list[Program], gateways: list[Program], folder: Path) -> None:
    """Let each gateway reach a server of its own by a Unix socket. Raises InvalidSetting."""
    for number, (server, gateway) in enumerate(zip(servers, gateways, strict=True), 1):
        socket = folder / f"server-{number}"
        if not fits_a_socket(socket):
            raise InvalidSetting("The path in TMPDIR is too long for a socket: choose a shorter one.")
        server.environment[GRPC_SOCKET.variable] = str(socket)
        gateway.environment[SERVER.variable] = f"unix:{socket}"


async def _stop_postgres(postgres: EmbeddedPostgres, at_once: asyncio.Event) -> None:
    stopped = asyncio.create_task(asyncio.to_thread(postgres.stop, AT_ONCE if at_once.is_set() else ORDERLY))
    hurry = asyncio.create_task(at_once.wait())
    await asyncio.wait({stopped, hurry}, return_when=asyncio.FIRST_COMPLETED)
    hurry.cancel()
    if not stopped.done() and postgres.process:
        postgres.process.send_signal(signal.SIGQUIT)
    await stopped


def main() -> None:
    """Serve with the settings in the environment; exit with 2 if they are refused, with 1 if the start fails."""
    protect_standard_streams()
    try:
        LOG_LEVEL.read(os.environ)
        if is_json(os.environ):
            tell_of_lost_lines_as_json("serve")
    except InvalidSetting as problem:
        refuse("serve", problem)
    warn_of_strangers(os.environ)
    reach_this_machine_directly(os.environ)
    try:
        asyncio.run(serve(LauncherSettings.read(os.environ)))
    except LaunchRefused:
        sys.exit(EXIT_REFUSED)
    except InvalidSetting as problem:
        warn(str(problem))
        sys.exit(EXIT_REFUSED)
    except (LaunchFailed, CannotListen) as problem:
        warn(str(problem))
        sys.exit(1)


if __name__ == "__main__":
    main()
