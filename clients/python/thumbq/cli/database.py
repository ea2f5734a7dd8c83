"""`thumbq db`: the tables of the database, looked at and renewed by the server's own code."""

from typing import Annotated

import typer

from thumbq.cli.as_json import JSON_HELP
from thumbq.cli.serve import SERVER_MODULES, become, require

app = typer.Typer(
    help="Look at the tables in the PostgreSQL that DATABASE_URL names, and bring them to this version.",
    no_args_is_help=True,
)
_COMMAND = "thumbq_server.database_command"


@app.command()
def check(json: Annotated[bool, typer.Option("--json", help=JSON_HELP)] = False) -> None:
    """Say whether the tables fit this version. Exits with 0 if so, 1 if an upgrade is due, 2 if they are too new.

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
