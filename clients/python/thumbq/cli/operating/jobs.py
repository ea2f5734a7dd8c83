"""`thumbq jobs` and `thumbq job`: list jobs, and show one with its history and the reason why it waits."""

from enum import StrEnum
from json import dumps
from math import floor
from typing import Annotated

import typer

from thumbq.cli.errors import TIMEOUT, run
from thumbq.cli.options import LOCAL, Server, id_argument, id_option
from thumbq.cli.output.as_json import JSON_HELP, as_json, print_json
from thumbq.cli.output.formatting import format_job_status, format_text, format_time, out
from thumbq.cli.output.tables import print_details, print_jobs, print_list
from thumbq.connection import open_channel
from thumbq.options import options_of
from thumbq.producer import Producer
from thumbq.v1.admin_pb2 import AttemptOutcome, ExplainJobRequest, ExplainJobResponse, GetJobHistoryRequest
from thumbq.v1.admin_pb2 import GetJobHistoryResponse as History
from thumbq.v1.admin_pb2_grpc import AdminServiceStub
from thumbq.v1.job_pb2 import Job, JobStatus
from thumbq.v1.queue_pb2 import ListJobEventsRequest, ListJobEventsResponse
from thumbq.v1.queue_pb2_grpc import QueueServiceStub
from thumbq_runtime.enum_words import words_of

_WORDS = {number: word for number, word in words_of(JobStatus.DESCRIPTOR).items() if number}
Status = StrEnum("Status", [(word.upper(), word) for word in _WORDS.values()])  # type: ignore[misc]


def jobs(
    status: Annotated[Status | None, typer.Option(case_sensitive=False, help="Only jobs with this status.")] = None,
    model_id: Annotated[int | None, id_option("Only jobs of this model.", show_default="all")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 20,
    json: Annotated[bool, typer.Option("--json", help=JSON_HELP)] = False,
    server: Server = LOCAL,
) -> None:
    """List jobs, newest first.

    Example: thumbq jobs --status failed --limit 50
    """
    wanted = JobStatus.Value(f"JOB_STATUS_{status.name}") if status else JobStatus.JOB_STATUS_UNSPECIFIED
    run(server, _list(server, wanted, model_id or 0, limit, json))


def job(
    job_id: Annotated[int, id_argument("ID", "Id of the job.")],
    json: Annotated[bool, typer.Option("--json", help=JSON_HELP)] = False,
    server: Server = LOCAL,
) -> None:
    """Show a job with its attempts and its log, and say why it waits.

    Example: thumbq job 42
    """
    run(server, _show(server, job_id, json))


async def _list(server: str, status: JobStatus.ValueType, model_id: int, limit: int, json: bool) -> None:
    found: list[Job] = []
    async with Producer(server, timeout=TIMEOUT) as producer:
        async for job in producer.jobs(status=status, model_id=model_id):
            found.append(job)
            if len(found) == limit:
                break
    if json:
        print_json(found)
    else:
        print_jobs(found, "No such jobs.")


async def _show(server: str, job_id: int, json: bool) -> None:
    async with Producer(server, timeout=TIMEOUT) as producer:
        await producer.get(job_id)  # says in our words that there is none
    async with open_channel(server) as channel:
        admin = AdminServiceStub(channel)
        why = await admin.ExplainJob(ExplainJobRequest(job_id=job_id), timeout=TIMEOUT)
        history = await admin.GetJobHistory(GetJobHistoryRequest(job_id=job_id), timeout=TIMEOUT)
        log = await QueueServiceStub(channel).ListJobEvents(ListJobEventsRequest(job_id=job_id), timeout=TIMEOUT)
    if json:
        print_json(why, **as_json(history), **as_json(log))
        return
    _print_job(why)
    _print_history(history)
    _print_log(log)


def _print_job(why: ExplainJobResponse) -> None:
    job = why.job
    rows = [
        ("job", str(job.id)),
        ("model", str(job.model_id)),
        ("hash", format_text(job.model_hash)),
        ("status", format_job_status(job)),
        ("attempts", f"{job.attempt_count} of {job.max_attempts}"),
        ("priority", str(job.priority)),
    ]
    if job.asset_type not in ("", "Model"):
        rows.append(("kind", format_text(job.asset_type)))
    if job.HasField("options"):
        rows.append(("options", format_text(dumps(options_of(job), ensure_ascii=False))))
    rows.append(("created", format_time(job.created_at)))
    if job.HasField("progress"):
        rows.append(("progress", format_text(f"{floor(job.progress * 100)} % {job.progress_text}".rstrip())))
    if job.error_message:
        rows.append(("last error", format_text(job.error_message)))
    print_details(rows)
    out.print(format_text(why.sentence), soft_wrap=True)


def _print_history(history: History) -> None:
    """Print how each attempt ended."""
    if not history.attempts:
        return
    words = words_of(AttemptOutcome.DESCRIPTOR)
    rows = []
    for row in history.attempts:
        began = format_time(row.claimed_at) if row.HasField("claimed_at") else ""
        outcome = words.get(row.outcome, str(row.outcome))
        texts = (format_text(row.worker_id), began, format_time(row.ended_at), outcome, format_text(row.error_message))
        rows.append((str(row.attempt), *texts))
    print_list(("attempt", "worker", "began", "ended", "outcome", "error"), rows, whole=True)


def _print_log(log: ListJobEventsResponse) -> None:
    """Print the lines that workers wrote into the log of the job."""
    if not log.events:
        return
    rows = []
    for event in log.events:
        text = event.error_message or event.message
        rows.append((format_time(event.created_at), format_text(event.event_type), format_text(text)))
    print_list(("", "", ""), rows, whole=True)
