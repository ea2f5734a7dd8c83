"""`thumbq cancel` and `thumbq retry`: correct what happens to jobs."""

from __future__ import annotations

from typing import Annotated

import typer

from thumbq.cli.errors import fail, run
from thumbq.cli.options import LARGEST_ID, LOCAL, Server
from thumbq.connection import open_channel
from thumbq.v1.admin_pb2 import CancelJobRequest, CancelModelJobsRequest, RetryJobRequest
from thumbq.v1.admin_pb2_grpc import AdminServiceStub

_JOB_IDS = typer.Argument(metavar="ID...", max=LARGEST_ID, help="Ids of jobs.")
_TIMEOUT = 10.0


def cancel(
    job_ids: Annotated[list[int] | None, _JOB_IDS] = None,
    model_id: Annotated[
        int | None, typer.Option(max=LARGEST_ID, help="All jobs of this model, say because it was deleted.")
    ] = None,
    server: Server = LOCAL,
) -> None:
    """Cancel jobs that wait or are being processed, and notify their workers."""
    if bool(job_ids) == (model_id is not None):
        fail("Name jobs by their ids, or a model by --model-id.")
    run(server, _cancel(server, job_ids or [], model_id))


def retry(job_ids: Annotated[list[int], _JOB_IDS], server: Server = LOCAL) -> None:
    """Start ended jobs again, and let jobs that wait for a retry run now."""
    run(server, _retry(server, job_ids))


async def _cancel(server: str, job_ids: list[int], model_id: int | None) -> None:
    async with open_channel(server) as channel:
        admin = AdminServiceStub(channel)
        if model_id is not None:
            request = CancelModelJobsRequest(model_id=model_id)
            job_ids = list((await admin.CancelModelJobs(request, timeout=_TIMEOUT)).job_ids)
        else:
            for job_id in job_ids:
                await admin.CancelJob(CancelJobRequest(job_id=job_id), timeout=_TIMEOUT)
        for job_id in job_ids:
            typer.echo(f"Job {job_id} is cancelled.")
        if not job_ids:
            typer.echo(f"Model {model_id} has no job that waits or is being processed.")


async def _retry(server: str, job_ids: list[int]) -> None:
    async with open_channel(server) as channel:
        admin = AdminServiceStub(channel)
        for job_id in job_ids:
            await admin.RetryJob(RetryJobRequest(job_id=job_id), timeout=_TIMEOUT)
            typer.echo(f"Job {job_id} is waiting for a worker again.")
