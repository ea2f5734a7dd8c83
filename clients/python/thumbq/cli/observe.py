"""`thumbq watch` and `thumbq health`: follow the notifications of a server, and ask whether it is ready."""

from typing import Annotated

import typer
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from thumbq.cli.errors import TIMEOUT, fail, run
from thumbq.cli.formatting import format_text, format_thumbnail_status, format_time, out
from thumbq.cli.options import LOCAL, Server
from thumbq.connection import open_channel
from thumbq.subscriber import Reset, Subscriber
from thumbq.v1.notification_pb2 import Notification


def watch(
    model_id: Annotated[list[int] | None, typer.Option(help="Only this model. May be repeated.")] = None,
    after: Annotated[
        str, typer.Option(help='Where to begin: a cursor, "latest", or "earliest" that the log still holds.')
    ] = "latest",
    server: Server = LOCAL,
) -> None:
    """Show notifications as they come, until Ctrl-C.

    Example: thumbq watch --model-id 42 --after earliest
    """
    run(server, _watch(server, model_id or [], after))


def health(server: Server = LOCAL) -> None:
    """Say whether the server is ready for work. Exits with 0 if so, else 1.

    Example: thumbq health --server queue.example:50051
    """
    run(server, _health(server))


async def _watch(server: str, model_ids: list[int], after: str) -> None:
    await _health_status(server)
    async with Subscriber(server, model_ids=model_ids, after=after) as subscriber:
        async for item in subscriber:
            if isinstance(item, Reset):
                out.print("[dim]older notifications are gone; here is what follows[/dim]")
            else:
                out.print(_line(item))


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
    is_ready, reason = await readiness(server)
    if not is_ready:
        fail(f"The server at {server} is not ready for work: {reason or 'it is ending'}.")
    out.print(f"The server at {server} is [green]ready[/green].")


async def readiness(server: str) -> tuple[bool, str]:
    """Return whether a server can do its work, and the reason if it cannot and says so. Raises AioRpcError."""
    status, reason = await _check(server, "thumbq.ready")
    return status == HealthCheckResponse.SERVING, reason


async def _health_status(server: str) -> int:
    status, _ = await _check(server, "")
    return status


async def _check(server: str, service: str) -> tuple[int, str]:
    """Return the status of a service, and the reason when the server gives one."""
    async with open_channel(server) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=HealthCheckRequest.SerializeToString,
            response_deserializer=HealthCheckResponse.FromString,
        )
        call = check(HealthCheckRequest(service=service), timeout=TIMEOUT)
        response = await call
        trailers = dict(await call.trailing_metadata() or ())
        return int(response.status), str(trailers.get("thumbq-reason", ""))
