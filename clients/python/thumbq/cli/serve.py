"""The commands that become the service, or one of its two processes.

These are started with `python -m`, since the client package does not import the server. All settings are
variables of the environment; an option given here only sets its variable.
"""

import importlib.util
import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

# What an extra brings, by the names under which it is imported.
_SERVER: dict[str, tuple[str, ...]] = {"server": ("sqlalchemy", "asyncpg", "alembic", "grpc_health", "grpc_reflection")}
_GATEWAY: dict[str, tuple[str, ...]] = {"gateway": ("aiohttp",)}

DataDir = Annotated[
    Path | None,
    typer.Option(
        envvar="THUMBQ_DATA_DIR",
        show_default="./thumbq-data",
        help="Folder of the thumbnails and, without a DATABASE_URL, of the database.",
    ),
]
HttpPort = Annotated[
    int | None,
    typer.Option(
        envvar=["THUMBQ_HTTP_PORT", "PORT"],
        show_default="5009",
        min=0,
        max=65535,
        help="Port of the page and the JSON API; 0 takes any free one.",
    ),
]
GrpcPort = Annotated[
    int | None,
    typer.Option(
        envvar="THUMBQ_GRPC_PORT",
        show_default="50051",
        min=0,
        max=65535,
        help="Port of the gRPC API; 0 takes any free one.",
    ),
]
Host = Annotated[str | None, typer.Option(show_default="127.0.0.1", help="Address to bind.")]
Insecure = Annotated[
    bool,
    typer.Option("--insecure", envvar="THUMBQ_INSECURE", help="Serve other machines without any API key."),
]
Processes = Annotated[
    int | None,
    typer.Option(
        envvar="THUMBQ_PROCESSES",
        show_default="1",
        min=1,
        max=64,
        help="So many servers, and so many gateways; each pair of them uses another core.",
    ),
]
Server = Annotated[
    str | None,
    typer.Option(envvar="THUMBQ_SERVER", show_default="127.0.0.1:50051", help="Address of the server's gRPC API."),
]


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
    """
    _need(_SERVER | _GATEWAY)
    _become(
        "thumbq_launcher",
        THUMBQ_DATA_DIR=data_dir,
        THUMBQ_HTTP_HOST=host,
        THUMBQ_HTTP_PORT=http_port,
        THUMBQ_GRPC_HOST=host,
        THUMBQ_GRPC_PORT=grpc_port,
        THUMBQ_INSECURE=1 if insecure else None,
        THUMBQ_PROCESSES=processes,
    )


def server(grpc_port: GrpcPort = None, host: Host = None, insecure: Insecure = False) -> None:
    """Run the gRPC server alone, on the PostgreSQL that DATABASE_URL names."""
    _need(_SERVER)
    _become(
        "thumbq_server",
        THUMBQ_GRPC_HOST=host,
        THUMBQ_GRPC_PORT=grpc_port,
        THUMBQ_INSECURE=1 if insecure else None,
    )


def gateway(http_port: HttpPort = None, host: Host = None, server: Server = None, insecure: Insecure = False) -> None:
    """Run the page and the JSON API alone, in front of a server."""
    _need(_GATEWAY)
    _become(
        "thumbq_gateway",
        THUMBQ_HTTP_HOST=host,
        THUMBQ_HTTP_PORT=http_port,
        THUMBQ_SERVER=server,
        THUMBQ_INSECURE=1 if insecure else None,
    )


def _need(extras: dict[str, tuple[str, ...]]) -> None:
    missing = [extra for extra, modules in extras.items() if not all(map(importlib.util.find_spec, modules))]
    if missing:
        names = ",".join(missing)
        typer.echo(f"thumbq: this command needs more than is installed: pip install 'thumbq[{names}]'", err=True)
        raise typer.Exit(1)


def _become(module: str, **settings: Path | str | int | None) -> NoReturn:
    """Replace this process by the module's, which keeps its number, its terminal and its signals."""
    given = {name: str(value) for name, value in settings.items() if value is not None}
    # -P: a file in the present folder shall not pass for a library.
    os.execve(sys.executable, [sys.executable, "-P", "-m", module], os.environ | given)
