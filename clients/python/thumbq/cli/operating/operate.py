"""`thumbq stats`, `workers`, `dead`, `pause` and `resume`: see how the queue is, and stop it."""

import getpass
import os
import socket
from datetime import UTC, datetime
from typing import Annotated

import typer
from google.protobuf.duration_pb2 import Duration

from thumbq.cli.errors import TIMEOUT, run
from thumbq.cli.options import LOCAL, Server
from thumbq.cli.output.as_json import JSON_HELP, print_json
from thumbq.cli.output.formatting import RARE_ENDS, format_duration, format_rate, format_text, format_time, out
from thumbq.cli.output.tables import print_details, print_jobs, print_list
from thumbq.connection import open_channel
from thumbq.v1.admin_pb2 import (
    GetStatsRequest,
    GetStatsResponse,
    ListDeadLettersRequest,
    ListWorkersRequest,
    MinuteActivity,
    PauseQueueRequest,
    Quantiles,
    ResumeQueueRequest,
)
from thumbq.v1.admin_pb2 import Pause as PauseMessage
from thumbq.v1.admin_pb2_grpc import AdminServiceStub
from thumbq.v1.job_pb2 import Job

Json = Annotated[bool, typer.Option("--json", help=JSON_HELP)]
_PAGE = 1000


def stats(json: Json = False, server: Server = LOCAL) -> None:
    """Show the queue in figures.

    Example: thumbq stats --json
    """
    run(server, _stats(server, json))


def workers(
    gone: Annotated[bool, typer.Option("--gone", help="Also those that were not heard of for a minute.")] = False,
    json: Json = False,
    server: Server = LOCAL,
) -> None:
    """List the sessions of workers, the latest heartbeat first.

    Example: thumbq workers --gone
    """
    run(server, _workers(server, gone, json))


def dead(
    reason: Annotated[str, typer.Option(help="Only jobs with this text in their last error.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 20,
    json: Json = False,
    server: Server = LOCAL,
) -> None:
    """List dead letters: the jobs that failed for good.

    Example: thumbq dead --reason "texture is missing"
    """
    run(server, _dead(server, reason, limit, json))


def pause(
    reason: Annotated[str, typer.Option(help="Why, for those who find the queue paused.")] = "",
    server: Server = LOCAL,
) -> None:
    """Hand out no more jobs, until `thumbq resume`; jobs are still accepted.

    Example: thumbq pause --reason "the disk of the thumbnails is full"
    """
    run(server, _pause(server, reason))


def resume(server: Server = LOCAL) -> None:
    """Hand out jobs again.

    Example: thumbq resume
    """
    run(server, _resume(server))


async def _stats(server: str, json: bool) -> None:
    async with open_channel(server) as channel:
        found = await AdminServiceStub(channel).GetStats(GetStatsRequest(), timeout=TIMEOUT)
    if json:
        print_json(found)
    else:
        _print_stats(found)


def _print_stats(found: GetStatsResponse) -> None:
    if found.HasField("pause"):
        out.print(f"[bold red]The queue is paused{_by(found.pause)}.[/]", soft_wrap=True)
    full = f"{found.pending}, {found.pressure:.0%} of the limit of {found.queue_limit}"
    rows = [("pending", full if found.queue_limit else str(found.pending))]
    rows += [(name, str(getattr(found, name))) for name in ("processing", "completed", "failed", "cancelled")]
    if found.HasField("oldest_pending_age"):
        rows.append(("oldest due job", f"due for {format_duration(found.oldest_pending_age.ToTimedelta())}"))
    rows.append(("workers", str(found.workers)))
    rows += [(format_time(row.minute), _ends(row)) for row in found.minutes]
    for name, quantiles in (("waiting", found.wait_time), ("processing time", found.processing_time)):
        if quantiles.samples:
            rows.append((name, _quantiles(quantiles)))
    print_details(rows)


def _ends(minute: MinuteActivity) -> str:
    """Return how the attempts of a minute ended. Rare ends stand there only when they happened."""
    rare = [f"{getattr(minute, name)} {name}" for name in RARE_ENDS if getattr(minute, name)]
    return ", ".join([f"{minute.completed} completed", f"{minute.failed} failed", *rare])


def _quantiles(found: Quantiles) -> str:
    return f"p50 {_seconds(found.p50)}, p95 {_seconds(found.p95)}, p99 {_seconds(found.p99)} (of {found.samples})"


def _seconds(duration: Duration) -> str:
    return f"{duration.ToTimedelta().total_seconds():.3g} s"


async def _workers(server: str, gone: bool, json: bool) -> None:
    async with open_channel(server) as channel:
        answer = await AdminServiceStub(channel).ListWorkers(ListWorkersRequest(), timeout=TIMEOUT)
    found = [worker for worker in answer.workers if gone or not worker.gone]
    if json:
        print_json(found)
        return
    if not found:
        out.print("No worker is connected.")
        return
    rows = []
    for worker in found:
        age = format_duration(datetime.now(UTC) - worker.last_seen_at.ToDatetime(UTC))
        labels = ", ".join(f"{name}={value}" for name, value in sorted(worker.labels.items()))
        name = format_text(worker.worker_id) + (" [dim](gone)[/]" if worker.gone else "")
        figures = (str(worker.in_flight), format_rate(worker.completed_per_minute), str(worker.failed))
        rows.append((name, *figures, f"{age} ago", format_text(worker.version), format_text(labels)))
    headings = ("worker", "jobs", "per min", "failed", "heard of", "version", "labels")
    print_list(headings, rows, ("jobs", "per min", "failed"))


async def _dead(server: str, reason: str, limit: int, json: bool) -> None:
    found: list[Job] = []
    request = ListDeadLettersRequest(reason=reason)
    async with open_channel(server) as channel:
        admin = AdminServiceStub(channel)
        while len(found) < limit:
            request.page_size = min(_PAGE, limit - len(found))
            answer = await admin.ListDeadLetters(request, timeout=TIMEOUT)
            found += answer.jobs
            if not answer.next_page_token:
                break
            request.page_token = answer.next_page_token
    if json:
        print_json(found)
    else:
        print_jobs(found, "No such dead letters." if reason else "No dead letters.")


async def _pause(server: str, reason: str) -> None:
    request = PauseQueueRequest(paused_by=f"{_user()}@{socket.gethostname()}"[:200], reason=reason)
    async with open_channel(server) as channel:
        await AdminServiceStub(channel).PauseQueue(request, timeout=TIMEOUT)
    out.print("The queue is paused: no job is handed out until `thumbq resume`.")


async def _resume(server: str) -> None:
    async with open_channel(server) as channel:
        answer = await AdminServiceStub(channel).ResumeQueue(ResumeQueueRequest(), timeout=TIMEOUT)
    if answer.HasField("pause"):
        out.print(f"The queue hands out jobs again; it was paused{_by(answer.pause)}.", soft_wrap=True)
    else:
        out.print("The queue was not paused.")


def _by(pause: PauseMessage) -> str:
    who = f" by {format_text(pause.paused_by)}" if pause.paused_by else ""
    return f"{who} at {format_time(pause.paused_at)}" + (f" ({format_text(pause.reason)})" if pause.reason else "")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a user that the system cannot name
        return str(os.getuid())
