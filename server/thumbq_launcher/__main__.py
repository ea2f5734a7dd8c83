"""The small parent behind `thumbq serve`: it owns the embedded PostgreSQL, the server and the gateway.

It is configured by its environment and passes to each child what that needs in the same way.
"""

import asyncio
import os
import signal
import sys

from thumbq_launcher.postgres.embedded import AT_ONCE, ORDERLY, EmbeddedPostgres
from thumbq_launcher.settings import SETTLED, Refused, ServeSettings, reachable_address
from thumbq_launcher.supervisor import (
    Child,
    LaunchFailed,
    PostgresChild,
    Program,
    end_programs,
    keep_running,
    launch_side_by_side,
    say,
    warn,
)

# What the programs need after their own grace to close what is open.
LAST_SECONDS = 3.0


async def serve(settings: ServeSettings) -> None:
    """Run everything until SIGTERM or SIGINT; a second signal ends it at once. Raises LaunchFailed."""
    asked, at_once = _watch_signals()
    postgres, database_url = None, settings.database_url
    if not database_url:
        postgres = PostgresChild(EmbeddedPostgres(settings.data_dir))
        database_url = postgres.postgres.dsn
    servers, gateways = _programs(settings, database_url)
    work = asyncio.create_task(_run(settings, postgres, servers, gateways))
    stop = asyncio.create_task(asked.wait())
    try:
        await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            await work
    finally:
        work.cancel()
        stop.cancel()
        await end_programs([*gateways, *servers], settings.shutdown_grace + LAST_SECONDS, at_once)
        if postgres:
            await _stop_postgres(postgres.postgres, at_once)


async def _run(
    settings: ServeSettings, postgres: PostgresChild | None, servers: list[Program], gateways: list[Program]
) -> None:
    if postgres:
        await postgres.launch()
    address = reachable_address(settings.grpc_host, await launch_side_by_side(servers, settings.grpc_host))
    for gateway in gateways:
        gateway.environment["THUMBQ_SERVER"] = address
    page = reachable_address(settings.http_host, await launch_side_by_side(gateways, settings.http_host))
    say(f"page and JSON API  http://{page}/")
    say(f"gRPC               {address}")
    children: list[Child] = [*([postgres] if postgres else []), *servers, *gateways]
    await asyncio.gather(*(keep_running(child) for child in children))


def _programs(settings: ServeSettings, database_url: str) -> tuple[list[Program], list[Program]]:
    environment = {name: value for name, value in os.environ.items() if name not in SETTLED}
    environment |= {
        "DATABASE_URL": database_url,
        "THUMBQ_THUMBNAIL_ROOT": str(settings.thumbnail_root),
        "THUMBQ_GRPC_HOST": settings.grpc_host,
        "THUMBQ_HTTP_HOST": settings.http_host,
    }
    # -P: a file in the present folder shall not pass for a library.
    python = [sys.executable, "-P", "-m"]

    def several(name: str, port_variable: str, port: int) -> list[Program]:
        command = [*python, f"thumbq_{name}"]
        return [Program(name, command, environment, port_variable, port) for _ in range(settings.processes)]

    servers = several("server", "THUMBQ_GRPC_PORT", settings.grpc_port)
    return servers, several("gateway", "THUMBQ_HTTP_PORT", settings.http_port)


async def _stop_postgres(postgres: EmbeddedPostgres, at_once: asyncio.Event) -> None:
    stopped = asyncio.create_task(asyncio.to_thread(postgres.stop, AT_ONCE if at_once.is_set() else ORDERLY))
    hurry = asyncio.create_task(at_once.wait())
    await asyncio.wait({stopped, hurry}, return_when=asyncio.FIRST_COMPLETED)
    hurry.cancel()
    if not stopped.done() and postgres.process:
        postgres.process.send_signal(signal.SIGQUIT)
    await stopped


def _watch_signals() -> tuple[asyncio.Event, asyncio.Event]:
    """The events of the first and of the second request to end."""
    asked, at_once = asyncio.Event(), asyncio.Event()

    def on_signal() -> None:
        (at_once if asked.is_set() else asked).set()

    for wanted in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(wanted, on_signal)
    return asked, at_once


def main() -> None:
    """Serve by the environment's settings; a sentence and exit code 2 or 1 when they or the start are bad."""
    try:
        asyncio.run(serve(ServeSettings.read(os.environ)))
    except (Refused, LaunchFailed) as problem:
        warn(str(problem))
        sys.exit(2 if isinstance(problem, Refused) else 1)


if __name__ == "__main__":
    main()
