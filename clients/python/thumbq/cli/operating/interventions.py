"""`thumbq cancel`, `thumbq retry` and `thumbq forget`: correct what happens to jobs."""

import sys
from contextlib import redirect_stdout
from typing import Annotated

import typer

from thumbq.cli.errors import fail, run
from thumbq.cli.operating.jobs import Status
from thumbq.cli.options import LOCAL, Server, id_argument, id_option
from thumbq.cli.output.progress import progress_bar
from thumbq.connection import open_channel
from thumbq.v1.admin_pb2 import (
    CancelJobRequest,
    CancelJobsRequest,
    CancelModelJobsRequest,
    ForgetThumbnailRequest,
    GetStatsRequest,
    RedriveDeadLettersRequest,
    RetryJobRequest,
)
from thumbq.v1.admin_pb2_grpc import AdminServiceStub
from thumbq.v1.job_pb2 import JobStatus
from thumbq.v1.queue_pb2 import ListJobsRequest
from thumbq.v1.queue_pb2_grpc import QueueServiceStub

_JOB_IDS = id_argument("ID", "Ids of jobs.")
_YES = typer.Option("--yes", help="Do not ask.")
_TIMEOUT = 10.0
# Jobs that one call lists, and one cancels.
_STEP = 1000


def cancel(
    job_ids: Annotated[list[int] | None, _JOB_IDS] = None,
    model_id: Annotated[int | None, id_option("All jobs of this model, say because it was deleted.")] = None,
    status: Annotated[
        Status | None, typer.Option(case_sensitive=False, help="All jobs that are pending, or processing.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All jobs that are pending or processing.")] = False,
    yes: Annotated[bool, _YES] = False,
    server: Server = LOCAL,
) -> None:
    """Cancel jobs that wait or are being processed, and notify their workers.

    Example: thumbq cancel --status pending --yes
    """
    if sum(map(bool, (job_ids, model_id is not None, status, everything))) != 1:
        fail("Name jobs by their ids, a model by --model-id, a --status, or --all.")
    if status is not None and status.name not in {"PENDING", "PROCESSING"}:
        fail("Only jobs that are pending or processing can be cancelled.")
    if status is not None or everything:
        names = [status.name] if status is not None else ["PENDING", "PROCESSING"]
        _ask(f"Cancel all jobs that are {' or '.join(names).lower()}?", yes)
        run(server, _cancel_all(server, names))
    else:
        run(server, _cancel(server, job_ids or [], model_id))


def forget(
    model_ids: Annotated[list[int], id_argument("MODEL", "Ids of models.")],
    yes: Annotated[bool, _YES] = False,
    server: Server = LOCAL,
) -> None:
    """Delete all that is known of models: their jobs, the history of these, and their pictures.

    Example: thumbq forget 42 --yes
    """
    _ask(f"Delete jobs and pictures of {'this model' if len(model_ids) == 1 else 'these models'} for ever?", yes)
    run(server, _forget(server, model_ids))


def retry(
    job_ids: Annotated[list[int] | None, _JOB_IDS] = None,
    reason: Annotated[str, typer.Option(help="All dead letters with this text in their last error.")] = "",
    everything: Annotated[bool, typer.Option("--all", help="All dead letters.")] = False,
    yes: Annotated[bool, _YES] = False,
    server: Server = LOCAL,
) -> None:
    """Start ended jobs again, and let jobs that wait for a retry run now.

    Example: thumbq retry --reason "texture is missing"
    """
    if sum(map(bool, (job_ids, reason, everything))) != 1:
        fail("Name jobs by their ids, a --reason, or --all.")
    if job_ids:
        run(server, _retry(server, job_ids))
    else:
        _ask("Start all dead letters again?" if everything else "Start all dead letters with this reason again?", yes)
        run(server, _redrive(server, RedriveDeadLettersRequest(all=everything, reason=reason)))


def _ask(question: str, yes: bool) -> None:
    """End the command unless the operator agrees; scripts agree by --yes."""
    if yes:
        return
    try:
        # Python writes the end of a question to standard output, which is for what was done.
        with redirect_stdout(sys.stderr):
            typer.confirm(question, abort=True, err=True)
    except typer.Abort:
        if sys.stdin.isatty():
            raise
        typer.echo(err=True)  # nothing has ended the line of the question
        fail("Nothing was done: --yes agrees where no terminal is there to ask.")


async def _cancel(server: str, job_ids: list[int], model_id: int | None) -> None:
    async with open_channel(server) as channel:
        admin = AdminServiceStub(channel)
        if model_id is not None:
            request = CancelModelJobsRequest(model_id=model_id)
            found = (await admin.CancelModelJobs(request, timeout=_TIMEOUT)).job_ids
            for job_id in found:
                typer.echo(_cancelled(job_id))
            if not found:
                typer.echo(f"Model {model_id} has no job that waits or is being processed.")
            return
        for job_id in job_ids:
            await admin.CancelJob(CancelJobRequest(job_id=job_id), timeout=_TIMEOUT)
            typer.echo(_cancelled(job_id))


def _cancelled(job_id: int) -> str:
    return f"Job {job_id} is cancelled."


async def _forget(server: str, model_ids: list[int]) -> None:
    async with open_channel(server) as channel:
        admin = AdminServiceStub(channel)
        for model_id in model_ids:
            answer = await admin.ForgetThumbnail(ForgetThumbnailRequest(model_id=model_id), timeout=_TIMEOUT)
            jobs, pictures = len(answer.job_ids), answer.pictures
            typer.echo(
                f"Model {model_id} is forgotten: {jobs} {'job' if jobs == 1 else 'jobs'} and {pictures}"
                f" {'picture' if pictures == 1 else 'pictures'} deleted."
            )


async def _cancel_all(server: str, names: list[str]) -> None:
    count = 0
    async with open_channel(server) as channel:
        admin, queue = AdminServiceStub(channel), QueueServiceStub(channel)
        stats = await admin.GetStats(GetStatsRequest(), timeout=_TIMEOUT)
        with progress_bar("cancelled", sum(getattr(stats, name.lower()) for name in names)) as bar:
            for name in names:
                request = ListJobsRequest(status=JobStatus.Value(f"JOB_STATUS_{name}"), page_size=_STEP)
                while True:
                    page = await queue.ListJobs(request, timeout=_TIMEOUT)
                    if found := [job.id for job in page.jobs]:
                        answer = await admin.CancelJobs(CancelJobsRequest(job_ids=found), timeout=_TIMEOUT)
                        count += len(answer.job_ids)
                        bar.advance(len(found))
                    if not page.next_page_token:
                        break
                    request.page_token = page.next_page_token
    typer.echo(f"{_jobs(count)} cancelled.")


async def _retry(server: str, job_ids: list[int]) -> None:
    async with open_channel(server) as channel:
        admin = AdminServiceStub(channel)
        for job_id in job_ids:
            await admin.RetryJob(RetryJobRequest(job_id=job_id), timeout=_TIMEOUT)
            typer.echo(f"Job {job_id} is waiting for a worker again.")


async def _redrive(server: str, request: RedriveDeadLettersRequest) -> None:
    count = 0
    async with open_channel(server) as channel:
        admin = AdminServiceStub(channel)
        # How many match a reason is known only when all were looked at.
        total = (await admin.GetStats(GetStatsRequest(), timeout=_TIMEOUT)).failed if request.all else None
        with progress_bar("started again", total) as bar:
            while True:
                answer = await admin.RedriveDeadLetters(request, timeout=_TIMEOUT)
                count += answer.redriven
                bar.advance(answer.redriven)
                if not answer.next_page_token:
                    break
                request.page_token = answer.next_page_token
    typer.echo(f"{_jobs(count)} waiting for a worker again.")


def _jobs(count: int) -> str:
    return "1 job is" if count == 1 else f"{count} jobs are"
