"""`thumbq db`: the tables of the database, looked at and renewed by the server's own code."""

import os
from pathlib import Path
from typing import Annotated

import typer

from thumbq.cli.errors import fail
from thumbq.cli.options import DataDir
from thumbq.cli.output.as_json import JSON_HELP
from thumbq.cli.setup.serve import SERVER_MODULES, become, require
from thumbq_runtime.settings import shared as settings

app = typer.Typer(
    help="Look at the tables in the PostgreSQL that DATABASE_URL names, and bring them to this version; dump and"
    " restore the one that `thumbq serve` brings.",
    no_args_is_help=True,
)
_COMMAND = "thumbq_server.database_command"
_BACKUP = "thumbq_launcher.backup"


@app.command()
def check(json: Annotated[bool, typer.Option("--json", help=JSON_HELP)] = False) -> None:
    """Say whether the tables fit this version.

    Exits with 0 if so; 1 if an upgrade is due, or PostgreSQL is away; 2 if they are too new, or cannot be used.

    Example: thumbq db check --json
    """
    require(SERVER_MODULES)
    become(_COMMAND, {}, "check", *(["--json"] if json else []))


@app.command()
def upgrade() -> None:
    """Bring the tables to this version, as each server does at its start. Servers may run meanwhile.

    Example: thumbq db upgrade
    """
    require(SERVER_MODULES)
    become(_COMMAND, {}, "upgrade")


@app.command()
def dump(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="New file, in pg_dump's own format.")],
    data_dir: DataDir = None,
) -> None:
    """Write the database of a data folder into a file. `thumbq serve` may run meanwhile.

    Example: thumbq db dump thumbq.dump --data-dir thumbq-data
    """
    _only_embedded("pg_dump --format=custom")
    become(_BACKUP, {settings.DATA_DIR: data_dir}, "dump", str(file.absolute()))


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `thumbq db dump` has written.")],
    data_dir: DataDir = None,
) -> None:
    """Make the database of a new data folder from a file, in the PostgreSQL that is installed now.

    Example: thumbq db restore thumbq.dump --data-dir new-data
    """
    _only_embedded("pg_restore")
    become(_BACKUP, {settings.DATA_DIR: data_dir}, "restore", str(file.absolute()))


def _only_embedded(program: str) -> None:
    if settings.DATABASE_URL.read(os.environ) or settings.DATABASE_URL_FILE.read(os.environ):
        fail(f"DATABASE_URL names a PostgreSQL of your own: use its {program}, as docs/operations.md shows.")
