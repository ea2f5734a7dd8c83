"""`thumbq jobs` and `thumbq job`: list jobs, and show one with the reason why it waits."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import grpc
import typer
from rich.markup import escape
from rich.table import Table

from thumbq.cli.errors import TIMEOUT, run
from thumbq.cli.formatting import format_duration, format_job_status, format_time, out
from thumbq.cli.options import LOCAL, Server
from thumbq.cli.waiting import QueueState, explain
from thumbq.connection import open_channel
from thumbq.producer import Producer
from thumbq.v1.admin_pb2 import GetStatsRequest, ListWorkersRequest
from thumbq.v1.admin_pb2_grpc import AdminServiceStub
from thumbq.v1.job_pb2 import JobStatus
from thumbq.v1.queue_pb2 import ListJobEventsRequest
from thumbq.v1.queue_pb2_grpc import QueueServiceStub
from thumbq_runtime.enum_words import words_of

_WORDS = {number: word for number, word in words_of(JobStatus.DESCRIPTOR).items() if number}
Status = StrEnum("Status", [(word.upper(), word) for word in _WORDS.values()])  # type: ignore[misc]


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


async def _list(server: str, status: JobStatus.ValueType, model_id: int, limit: int) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("job", "model"):
        table.add_column(heading, justify="right")
    table.add_column("status")
    table.add_column("attempts", justify="right")
    table.add_column("created")
    table.add_column("", overflow="ellipsis", no_wrap=True)
    async with Producer(server, timeout=TIMEOUT) as producer:
        async for job in producer.jobs(status=status, model_id=model_id):
            age = format_duration(datetime.now(UTC) - job.created_at.ToDatetime(UTC))
            remark = escape(job.worker_id or job.error_message)
            attempts = f"{job.attempt_count}/{job.max_attempts}"
            table.add_row(str(job.id), str(job.model_id), format_job_status(job), attempts, f"{age} ago", remark)
            if table.row_count == limit:
                break
    out.print(table if table.row_count else "No such jobs.")


async def _show(server: str, job_id: int) -> None:
    async with Producer(server, timeout=TIMEOUT) as producer:
        job = await producer.get(job_id)
    queue = QueueState()
    if job.status == JobStatus.JOB_STATUS_PENDING:
        queue = await _read_queue_state(server)
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_row("job", str(job.id))
    table.add_row("model", str(job.model_id))
    table.add_row("hash", job.model_hash)
    table.add_row("status", format_job_status(job))
    table.add_row("attempts", f"{job.attempt_count} of {job.max_attempts}")
    table.add_row("priority", str(job.priority))
    table.add_row("created", format_time(job.created_at))
    if job.error_message:
        table.add_row("last error", escape(job.error_message))
    out.print(table)
    out.print(explain(job, datetime.now(UTC), queue), markup=False)
    await _print_log(server, job_id)


async def _print_log(server: str, job_id: int) -> None:
    """Print the lines that workers wrote into the log of the job."""
    async with open_channel(server) as channel:
        answer = await QueueServiceStub(channel).ListJobEvents(ListJobEventsRequest(job_id=job_id), timeout=TIMEOUT)
    if not answer.events:
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    for event in answer.events:
        text = event.error_message or event.message
        table.add_row(format_time(event.created_at), escape(event.event_type), escape(text))
    out.print(table)


async def _read_queue_state(server: str) -> QueueState:
    async with open_channel(server) as channel:
        admin = AdminServiceStub(channel)
        try:
            stats = await admin.GetStats(GetStatsRequest(), timeout=TIMEOUT)
            workers = await admin.ListWorkers(ListWorkersRequest(), timeout=TIMEOUT)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                return QueueState()
            raise
        return QueueState(stats.paused, workers.workers)
