"""`thumbq jobs` and `thumbq job`: list jobs, and show one with the reason why it waits."""

from collections.abc import Awaitable, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, TypeVar

import grpc
import typer
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from thumbq.cli.errors import TIMEOUT, run
from thumbq.cli.formatting import format_duration, format_job_status, format_text, format_time, out
from thumbq.cli.options import LARGEST_ID, LOCAL, Server
from thumbq.cli.waiting import QueueState, explain
from thumbq.connection import open_channel
from thumbq.producer import Producer
from thumbq.v1.admin_pb2 import GetStatsRequest, ListWorkersRequest
from thumbq.v1.admin_pb2_grpc import AdminServiceStub
from thumbq.v1.job_pb2 import JobStatus
from thumbq.v1.queue_pb2 import ListJobEventsRequest
from thumbq.v1.queue_pb2_grpc import QueueServiceStub
from thumbq_runtime.enum_words import words_of
from thumbq_runtime.text import printable

_Answer = TypeVar("_Answer")
_NUMBERS = {"job", "model", "attempts"}
_WORDS = {number: word for number, word in words_of(JobStatus.DESCRIPTOR).items() if number}
Status = StrEnum("Status", [(word.upper(), word) for word in _WORDS.values()])  # type: ignore[misc]


def jobs(
    status: Annotated[Status | None, typer.Option(case_sensitive=False, help="Only jobs with this status.")] = None,
    model_id: Annotated[
        int, typer.Option(min=0, max=LARGEST_ID, help="Only jobs of this model.", show_default="all")
    ] = 0,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 20,
    server: Server = LOCAL,
) -> None:
    """List jobs, newest first."""
    wanted = JobStatus.Value(f"JOB_STATUS_{status.name}") if status else JobStatus.JOB_STATUS_UNSPECIFIED
    run(server, _list(server, wanted, model_id, limit))


def job(
    job_id: Annotated[int, typer.Argument(metavar="ID", max=LARGEST_ID, help="Id of the job.")], server: Server = LOCAL
) -> None:
    """Show a job, and say why it waits."""
    run(server, _show(server, job_id))


async def _list(server: str, status: JobStatus.ValueType, model_id: int, limit: int) -> None:
    rows = []
    async with Producer(server, timeout=TIMEOUT) as producer:
        async for job in producer.jobs(status=status, model_id=model_id):
            age = format_duration(datetime.now(UTC) - job.created_at.ToDatetime(UTC))
            remark = printable(job.worker_id or job.error_message)
            attempts = f"{job.attempt_count}/{job.max_attempts}"
            rows.append((str(job.id), str(job.model_id), format_job_status(job), attempts, f"{age} ago", remark))
            if len(rows) == limit:
                break
    if rows:
        _print_rows(rows)
    else:
        out.print("No such jobs.")


def _print_rows(rows: Sequence[tuple[str, ...]]) -> None:
    """Print a line for each job; a remark that does not fit into a terminal follows below its job."""
    headings = ("job", "model", "status", "attempts", "created")
    table = [tuple(map(Text.from_markup, cells[: len(headings)])) for cells in (headings, *rows)]
    widths = [max(cells[column].cell_len for cells in table) for column in range(len(headings))]
    for cells, remark in zip(table, ("", *(row[-1] for row in rows)), strict=True):
        for cell, width, heading in zip(cells, widths, headings, strict=True):
            cell.align("right" if heading in _NUMBERS else "left", width)
        line = Text("  ").join(cells)
        if cells is table[0]:
            line.stylize("bold")
        beside = line + Text(f"  {remark}" if remark else "")
        beside.rstrip()
        if out.is_terminal and beside.cell_len > out.width:
            out.print(line)
            out.print(Padding(Text(remark), (0, 0, 0, 4)))
        else:
            out.print(beside, soft_wrap=True)


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
    table.add_row("hash", format_text(job.model_hash))
    table.add_row("status", format_job_status(job))
    table.add_row("attempts", f"{job.attempt_count} of {job.max_attempts}")
    table.add_row("priority", str(job.priority))
    table.add_row("created", format_time(job.created_at))
    if job.error_message:
        table.add_row("last error", format_text(job.error_message))
    out.print(table)
    out.print(format_text(explain(job, datetime.now(UTC), queue)))
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
        table.add_row(format_time(event.created_at), format_text(event.event_type), format_text(text))
    out.print(table)


async def _read_queue_state(server: str) -> QueueState:
    async with open_channel(server) as channel:
        admin = AdminServiceStub(channel)
        stats = await _if_known(admin.GetStats(GetStatsRequest(), timeout=TIMEOUT))
        workers = await _if_known(admin.ListWorkers(ListWorkersRequest(), timeout=TIMEOUT))
        return QueueState(stats.paused if stats else None, workers.workers if workers else None)


async def _if_known(call: Awaitable[_Answer]) -> _Answer | None:
    """Return the answer, or None from a server that does not know the call."""
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.UNIMPLEMENTED:
            return None
        raise
