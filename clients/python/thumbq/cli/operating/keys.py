"""`thumbq keys create`, `list` and `revoke`: who may use the queue."""

import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

import typer
from google.protobuf.duration_pb2 import Duration

from thumbq.cli.client_command import client_command
from thumbq.cli.errors import TIMEOUT, fail, run
from thumbq.cli.options import LOCAL, Server
from thumbq.cli.output.as_json import JSON_HELP, print_json
from thumbq.cli.output.formatting import format_duration, format_text, format_time, out
from thumbq.cli.output.tables import print_list
from thumbq.connection import key_in_environment, open_channel
from thumbq.v1.admin_pb2 import ApiKey, CreateKeyRequest, ListKeysRequest, RevokeKeyRequest, Role
from thumbq.v1.admin_pb2_grpc import AdminServiceStub
from thumbq_runtime.access.api_keys import prefix_in, print_key
from thumbq_runtime.enum_words import words_of

app = typer.Typer(help="Make, list and revoke API keys.", no_args_is_help=True)

RoleName = Literal["worker", "producer", "viewer", "admin"]
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@app.command()
@client_command
def create(
    role: Annotated[RoleName, typer.Option(help="What the owner may do: docs/security.md has the table.")],
    name: Annotated[str, typer.Option(help="Whose key it is, or what for.")],
    expires_in: Annotated[str, typer.Option(help="How long it lasts, as 90d, 12h, 30m or 20s.")] = "",
    database: Annotated[
        bool,
        typer.Option("--database", help="Write into the database that DATABASE_URL names, without a server."),
    ] = False,
    server: Server = LOCAL,
) -> None:
    """Make a key, and print it: this is the only time that it is shown.

    From the first key on, every call needs one, so the first is an admin's.

    Example: thumbq keys create --role worker --name "render farm" --expires-in 90d
    """
    life = _life(expires_in)
    if database:
        _create_in_database(role, name, life)
    else:
        run(server, _create(server, CreateKeyRequest(role=_role(role), name=name, expires_after=life)))


@app.command("list")
@client_command
def list_keys(
    json: Annotated[bool, typer.Option("--json", help=JSON_HELP)] = False,
    server: Server = LOCAL,
) -> None:
    """List all keys, those that have ended too.

    Example: thumbq keys list
    """
    run(server, _list(server, json))


@app.command()
@client_command
def revoke(
    prefix: Annotated[str, typer.Argument(help="The prefix of the key, as `thumbq keys list` shows it, or the key.")],
    server: Server = LOCAL,
) -> None:
    """End a key within two seconds, with everything that was opened with it.

    Example: thumbq keys revoke 3fa94c01
    """
    run(server, _revoke(server, prefix_in(prefix)))


def _life(text: str) -> Duration | None:
    if not text:
        return None
    form = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    if form is None:
        fail(f"'{text}' is no time: write 90d, 12h, 30m or 20s.")
    return Duration(seconds=int(form[1]) * _UNITS[form[2]])


def _role(name: RoleName) -> Role.ValueType:
    return Role.Value(f"ROLE_{name.upper()}")


def _create_in_database(role: RoleName, name: str, life: Duration | None) -> None:
    """Run the server's own program for it, since the client package knows no database."""
    seconds = "" if life is None else str(life.seconds)
    command = [sys.executable, "-P", "-m", "thumbq_server.access", role, name, seconds]
    raise typer.Exit(subprocess.run(command, check=False, env=os.environ).returncode)


async def _create(server: str, request: CreateKeyRequest) -> None:
    async with open_channel(server) as channel:
        admin = AdminServiceStub(channel)
        answer = await admin.CreateKey(request, timeout=TIMEOUT)
        try:
            print_key(answer.secret)
        except OSError as problem:
            # From the first key on, every call needs one.
            shown = None if key_in_environment() else (("authorization", f"Bearer {answer.secret}"),)
            await admin.RevokeKey(RevokeKeyRequest(prefix=answer.key.prefix), timeout=TIMEOUT, metadata=shown)
            fail(
                f"The key cannot be written and is revoked: {problem.strerror}. Make another one, with --database if"
                " this was the first."
            )


async def _list(server: str, json: bool) -> None:
    async with open_channel(server) as channel:
        answer = await AdminServiceStub(channel).ListKeys(ListKeysRequest(), timeout=TIMEOUT)
    if json:
        print_json(answer.keys)
        return
    if not answer.keys:
        out.print("There is no key: whoever reaches the queue may use it.")
        return
    rows = []
    for key in answer.keys:
        used = f"{_age(key.last_used_at.ToDatetime(UTC))} ago" if key.HasField("last_used_at") else "never"
        role = words_of(Role.DESCRIPTOR).get(key.role, str(key.role)).lower()
        prefix, name = format_text(key.prefix), format_text(key.name)
        rows.append((prefix, role, name, format_time(key.created_at), used, _state(key)))
    print_list(("prefix", "role", "name", "made", "last used", "state"), rows)


def _age(moment: datetime) -> str:
    return format_duration(max(datetime.now(UTC) - moment, timedelta(0)))


def _state(key: ApiKey) -> str:
    if key.HasField("revoked_at"):
        return f"revoked at {format_time(key.revoked_at)}"
    if not key.HasField("expires_at"):
        return "valid"
    is_over = key.expires_at.ToDatetime(UTC) <= datetime.now(UTC)
    return f"{'expired' if is_over else 'valid until'} {format_time(key.expires_at)}"


async def _revoke(server: str, prefix: str) -> None:
    async with open_channel(server) as channel:
        answer = await AdminServiceStub(channel).RevokeKey(RevokeKeyRequest(prefix=prefix), timeout=TIMEOUT)
    out.print(f"The key {format_text(answer.key.prefix)} ({format_text(answer.key.name)}) is revoked.", soft_wrap=True)
