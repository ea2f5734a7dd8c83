"""`thumbq watch` and `thumbq health`: follow the notifications of a server, and ask whether it is ready."""

from json import dumps
from typing import Annotated, NamedTuple

import grpc
import typer
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from thumbq.cli.errors import TIMEOUT, fail, run
from thumbq.cli.options import LOCAL, Server, id_option
from thumbq.cli.output.formatting import format_text, format_thumbnail_status, format_time, out
from thumbq.connection import open_channel
from thumbq.subscriber import Reset, Subscriber
from thumbq.v1.admin_pb2 import GetStatsRequest
from thumbq.v1.admin_pb2_grpc import AdminServiceStub
from thumbq.v1.notification_pb2 import Notification


class Readiness(NamedTuple):
    """Whether a server can do its work, the reason if it cannot, and what may go wrong although it can."""

    is_ready: bool
    reason: str
    warning: str


def watch(
    model_id: Annotated[list[int] | None, id_option("Only this model. May be repeated.")] = None,
    after: Annotated[
        str, typer.Option(help='Where to begin: a cursor, "latest", or "earliest" that the log still holds.')
    ] = "latest",
    server: Server = LOCAL,
) -> None:
    """Show notifications as they come, until Ctrl-C.

    Example: thumbq watch --model-id 42 --after earliest
    """
    run(server, _watch(server, model_id or [], after))


def health(
    json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts, with the version too.")] = False,
    server: Server = LOCAL,
) -> None:
    """Say whether the server is ready for work, and warn if its database may lose jobs. Exits with 0 if ready, else 1.

    Example: thumbq health --server queue.example:50051
    """
    run(server, _health_as_json(server) if json else _health(server))


async def _watch(server: str, model_ids: list[int], after: str) -> None:
    await _health_status(server)
    async with Subscriber(server, model_ids=model_ids, after=after) as subscriber:
        async for item in subscriber:
            if isinstance(item, Reset):
                out.print("[dim]older notifications are gone; here is what follows[/dim]")
            else:
                out.print(_line(item), soft_wrap=True)


def _line(notification: Notification) -> str:
    status = format_thumbnail_status(notification.status)
    parts = [f"{format_time(notification.timestamp)}  model {notification.model_id:<8} {status}"]
    if notification.error_message:
        parts.append(format_text(notification.error_message))
    if notification.will_retry:
        parts.append(f"next attempt at {format_time(notification.next_attempt_at)}")
    if notification.test:
        parts.append("(test)")
    return "  ".join(parts)


async def _health(server: str) -> None:
    found = await readiness(server)
    if not found.is_ready:
        fail(f"The server at {server} is not ready for work: {found.reason or 'it is ending'}.")
    out.print(f"The server at {format_text(server)} is [green]ready[/green].", soft_wrap=True)
    if found.warning:
        out.print(f"[yellow]Warning:[/yellow] {format_text(found.warning)}", soft_wrap=True)


async def _health_as_json(server: str) -> None:
    """Print how a server is. It tells its version with a key alone, and while its database answers."""
    found = await readiness(server)
    try:
        version = await version_of(server) if found.is_ready else ""
    except grpc.aio.AioRpcError:
        version = ""
    told = {"reason": found.reason, "warning": found.warning, "serverVersion": version}
    typer.echo(dumps({"ready": found.is_ready} | {name: text or None for name, text in told.items()}, indent=2))
    if not found.is_ready:
        raise typer.Exit(1)


async def version_of(server: str) -> str:
    """Return the version of a server, or "" if it is older than the answer to this question. Raises AioRpcError."""
    async with open_channel(server) as channel:
        return (await AdminServiceStub(channel).GetStats(GetStatsRequest(), timeout=TIMEOUT)).server_version


async def readiness(server: str) -> Readiness:
    """Return whether a server can do its work, and what it says of that. Raises AioRpcError."""
    status, told = await _check(server, "thumbq.ready")
    is_ready = status == HealthCheckResponse.SERVING
    return Readiness(is_ready, told.get("thumbq-reason", ""), told.get("thumbq-warning", ""))


async def _health_status(server: str) -> int:
    status, _ = await _check(server, "")
    return status


async def _check(server: str, service: str) -> tuple[int, dict[str, str]]:
    """Return the status of a service, and what the server says beside it."""
    async with open_channel(server) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=HealthCheckRequest.SerializeToString,
            response_deserializer=HealthCheckResponse.FromString,
        )
        call = check(HealthCheckRequest(service=service), timeout=TIMEOUT)
        response = await call
        trailers = {key: str(value) for key, value in await call.trailing_metadata() or ()}
        return int(response.status), trailers
