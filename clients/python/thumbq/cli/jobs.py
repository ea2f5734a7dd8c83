"""The operator's commands: put jobs into the queue, and look at what becomes of them."""

import hashlib
from datetime import UTC, datetime
from enum import StrEnum
from itertools import count
from pathlib import Path
from typing import Annotated

import grpc
import typer
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from thumbq.cli.errors import fail, run
from thumbq.cli.waiting import Surroundings, clock, explain, span
from thumbq.connection import open_channel
from thumbq.producer import Producer
from thumbq.subscriber import Reset, Subscriber
from thumbq.v1.admin_pb2 import GetStatsRequest, ListWorkersRequest
from thumbq.v1.admin_pb2_grpc import AdminServiceStub
from thumbq.v1.job_pb2 import Job, JobStatus, ThumbnailStatus
from thumbq.v1.notification_pb2 import Notification
from thumbq.v1.queue_pb2 import EnqueueOutcome, NewJob

# Seconds for an answer before the server counts as away.
_PATIENCE = 5.0
_COLOURS = {
    "Pending": "yellow",
    "Processing": "cyan",
    "Completed": "green",
    "Ready": "green",
    "Failed": "red",
    "Cancelled": "dim",
}

_out = Console(highlight=False)

Server = Annotated[str, typer.Option(envvar="THUMBQ_SERVER", help="Address of the server's gRPC API.")]
LOCAL = "127.0.0.1:50051"


class Status(StrEnum):
    """The words for a job's status."""

    PENDING = "Pending"
    PROCESSING = "Processing"
    COMPLETED = "Completed"
    FAILED = "Failed"
    CANCELLED = "Cancelled"


def enqueue(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILE...", help="Model files. The hash is taken from what they contain."),
    ] = None,
    model_id: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Id of the model; further files count up from it. Default: the number a file is named by.",
        ),
    ] = None,
    model_hash: Annotated[
        str | None, typer.Option("--hash", help="SHA-256 of the model file, where the file is not at hand.")
    ] = None,
    priority: Annotated[int, typer.Option(min=0, max=9, help="Higher first.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Render again even if the picture is there.")] = False,
    server: Server = LOCAL,
) -> None:
    """Ask for thumbnails of model files, or of one model by its id and hash."""
    if model_hash and not files:
        if model_id is None:
            fail("--hash needs the --model-id that it belongs to.")
        models = [(model_id, model_hash)]
    elif files and not model_hash:
        ids = count(model_id) if model_id is not None else map(_id_from_name, files)
        models = [(number, _hash(file)) for number, file in zip(ids, files, strict=False)]
    else:
        fail("Give either model files, or --model-id and --hash.")
    jobs = [NewJob(model_id=number, model_hash=text, priority=priority, force=force) for number, text in models]
    run(server, _enqueue(server, jobs))


def jobs(
    status: Annotated[Status | None, typer.Option(case_sensitive=False, help="Only jobs with this status.")] = None,
    model_id: Annotated[int, typer.Option(help="Only jobs of this model.", show_default="all")] = 0,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 20,
    server: Server = LOCAL,
) -> None:
    """List jobs, newest first."""
    wanted = JobStatus.Value(f"JOB_STATUS_{status.name}") if status else JobStatus.JOB_STATUS_UNSPECIFIED
    run(server, _list(server, wanted, model_id, limit))


def job(job_id: Annotated[int, typer.Argument(metavar="ID", help="Id of the job.")], server: Server = LOCAL) -> None:
    """Show a job, and say why it waits."""
    run(server, _show(server, job_id))


def watch(
    model_id: Annotated[list[int] | None, typer.Option(help="Only this model. May be repeated.")] = None,
    after: Annotated[
        str, typer.Option(help='Where to begin: a cursor, "latest", or "earliest" that the log still holds.')
    ] = "latest",
    server: Server = LOCAL,
) -> None:
    """Show notifications as they come, until Ctrl-C."""
    run(server, _watch(server, model_id or [], after))


def health(server: Server = LOCAL) -> None:
    """Say whether the server is ready for work. Exits with 0 if so, else 1."""
    run(server, _health(server))


async def _enqueue(server: str, jobs: list[NewJob]) -> None:
    async with Producer(server, timeout=_PATIENCE) as producer:
        for asked, answer in zip(jobs, await producer.enqueue(jobs), strict=True):
            outcome = EnqueueOutcome.Name(answer.outcome).removeprefix("ENQUEUE_OUTCOME_").lower()
            _out.print(f"job {answer.job_id} for model {asked.model_id}: {outcome}")


async def _list(server: str, status: JobStatus.ValueType, model_id: int, limit: int) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("job", "model"):
        table.add_column(heading, justify="right")
    table.add_column("status")
    table.add_column("attempts", justify="right")
    table.add_column("created")
    table.add_column("", overflow="ellipsis", no_wrap=True)
    async with Producer(server, timeout=_PATIENCE) as producer:
        async for job in producer.jobs(status=status, model_id=model_id):
            age = span(datetime.now(UTC) - job.created_at.ToDatetime(UTC))
            remark = job.worker_id or job.error_message
            attempts = f"{job.attempt_count}/{job.max_attempts}"
            table.add_row(str(job.id), str(job.model_id), _status(job), attempts, f"{age} ago", escape(remark))
            if table.row_count == limit:
                break
    _out.print(table if table.row_count else "No such jobs.")


async def _show(server: str, job_id: int) -> None:
    async with Producer(server, timeout=_PATIENCE) as producer:
        job = await producer.get(job_id)
    surroundings = Surroundings()
    if job.status == JobStatus.JOB_STATUS_PENDING:
        surroundings = await _look_around(server)
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_row("job", str(job.id))
    table.add_row("model", str(job.model_id))
    table.add_row("hash", job.model_hash)
    table.add_row("status", _status(job))
    table.add_row("attempts", f"{job.attempt_count} of {job.max_attempts}")
    table.add_row("priority", str(job.priority))
    table.add_row("created", clock(job.created_at))
    if job.error_message:
        table.add_row("last error", escape(job.error_message))
    _out.print(table)
    _out.print(explain(job, datetime.now(UTC), surroundings), markup=False)


async def _look_around(server: str) -> Surroundings:
    async with open_channel(server) as channel:
        admin = AdminServiceStub(channel)
        try:
            stats = await admin.GetStats(GetStatsRequest(), timeout=_PATIENCE)
            workers = await admin.ListWorkers(ListWorkersRequest(), timeout=_PATIENCE)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                return Surroundings()
            raise
        return Surroundings(stats.paused, workers.workers)


async def _watch(server: str, model_ids: list[int], after: str) -> None:
    await _health_status(server)
    async with Subscriber(server, model_ids=model_ids, after=after) as subscriber:
        async for item in subscriber:
            if isinstance(item, Reset):
                _out.print("[dim]older notifications are gone; here is what follows[/dim]")
            else:
                _out.print(_line(item))


async def _health(server: str) -> None:
    status = await _health_status(server)
    if status != HealthCheckResponse.SERVING:
        fail(f"The server at {server} is not ready for work.")
    _out.print(f"The server at {server} is [green]ready[/green].")


async def _health_status(server: str) -> int:
    async with open_channel(server) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=HealthCheckRequest.SerializeToString,
            response_deserializer=HealthCheckResponse.FromString,
        )
        response = await check(HealthCheckRequest(), timeout=_PATIENCE)
        return int(response.status)


def _status(job: Job) -> str:
    return _coloured(JobStatus.Name(job.status).removeprefix("JOB_STATUS_").capitalize())


def _coloured(word: str) -> str:
    return f"[{_COLOURS.get(word, 'default')}]{word}[/]"


def _line(notification: Notification) -> str:
    status = ThumbnailStatus.Name(notification.status).removeprefix("THUMBNAIL_STATUS_").capitalize()
    parts = [f"{clock(notification.timestamp)}  model {notification.model_id:<8} {_coloured(status)}"]
    if notification.error_message:
        parts.append(escape(notification.error_message))
    if notification.will_retry:
        parts.append(f"next attempt at {clock(notification.next_attempt_at)}")
    if notification.test:
        parts.append("(test)")
    return "  ".join(parts)


def _id_from_name(file: Path) -> int:
    if not file.stem.isdecimal() or int(file.stem) == 0:
        fail(f"{file.name} is not named by a number, so --model-id has to say which model it is.")
    return int(file.stem)


def _hash(file: Path) -> str:
    try:
        with file.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        fail(f"{file} cannot be read: {error.strerror}.")
