"""The commands that become the service, or one of its two programs.

They start the programs with `python -m`, since the client package does not import the server. All settings are
variables of the environment; an option given here only sets its variable.
"""

import importlib.util
import os
import sys
from collections.abc import Mapping
from typing import NoReturn

import typer

from thumbq.cli.options import DataDir, GatewaysServer, GrpcPort, Host, HttpPort, Insecure, Processes
from thumbq_runtime.settings import shared as settings
from thumbq_runtime.settings.declaration import Setting

# The modules of each extra, by the names under which they are imported.
SERVER_MODULES: dict[str, tuple[str, ...]] = {
    "server": ("sqlalchemy", "asyncpg", "alembic", "grpc_health", "grpc_reflection")
}
_GATEWAY: dict[str, tuple[str, ...]] = {"gateway": ("aiohttp",)}


def serve(
    data_dir: DataDir = None,
    http_port: HttpPort = None,
    grpc_port: GrpcPort = None,
    host: Host = None,
    insecure: Insecure = False,
    processes: Processes = None,
) -> None:
    """Run the whole service: database, server and gateway.

    With DATABASE_URL (or THUMBQ_DATABASE_URL, or either with _FILE) it uses that PostgreSQL, else its own.

    Example: thumbq serve --data-dir thumbq-data --processes 2
    """
    require(SERVER_MODULES | _GATEWAY)
    become(
        "thumbq_launcher",
        {
            settings.DATA_DIR: data_dir,
            settings.HTTP_HOST: host,
            settings.HTTP_PORT: http_port,
            settings.GRPC_HOST: host,
            settings.GRPC_PORT: grpc_port,
            settings.INSECURE: 1 if insecure else None,
            settings.PROCESSES: processes,
        },
    )


def server(grpc_port: GrpcPort = None, host: Host = None, insecure: Insecure = False) -> None:
    """Run the gRPC server alone, on the PostgreSQL that DATABASE_URL names.

    Example: thumbq server --grpc-port 50051
    """
    require(SERVER_MODULES)
    become(
        "thumbq_server",
        {settings.GRPC_HOST: host, settings.GRPC_PORT: grpc_port, settings.INSECURE: 1 if insecure else None},
    )


def gateway(
    http_port: HttpPort = None, host: Host = None, server: GatewaysServer = None, insecure: Insecure = False
) -> None:
    """Run the page and the JSON API alone, in front of a server.

    Example: thumbq gateway --server queue.example:50051
    """
    require(_GATEWAY)
    become(
        "thumbq_gateway",
        {
            settings.HTTP_HOST: host,
            settings.HTTP_PORT: http_port,
            settings.SERVER: server,
            settings.INSECURE: 1 if insecure else None,
        },
    )


def require(extras: Mapping[str, tuple[str, ...]]) -> None:
    """Exit with the command that installs them when modules of the extras are missing."""
    missing = [extra for extra, modules in extras.items() if not all(map(importlib.util.find_spec, modules))]
    if missing:
        names = ",".join(missing)
        typer.echo(f"thumbq: this command needs more than is installed: pip install 'thumbq[{names}]'", err=True)
        raise typer.Exit(1)


def become(module: str, chosen: Mapping[Setting[object], object], *arguments: str) -> NoReturn:
    """Replace this process by the module's, which keeps its number, its terminal and its signals."""
    variables = {setting.variable: str(value) for setting, value in chosen.items() if value is not None}
    # gRPC logs every failed handshake of a stranger, which it would be easy to fill a disk with.
    environment = {"GRPC_VERBOSITY": "ERROR"} | os.environ | variables
    # -P: a file in the current folder must not be imported in place of a library.
    command = [sys.executable, "-P", "-m", module, *arguments]
    try:
        os.execve(sys.executable, command, environment)
    except OSError as problem:
        way_out = "Install thumbq where the user who runs it may read it."
        typer.echo(f"thumbq: {sys.executable} cannot be run: {problem.strerror}. {way_out}", err=True)
        raise typer.Exit(1) from None
