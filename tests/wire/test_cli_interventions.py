"""The operator's commands against a real server."""

import asyncio
import sys
from pathlib import Path

from tests.wire.test_admin import dequeue, enqueue
from thumbq.v1 import job_pb2, queue_pb2

THUMBQ = Path(sys.executable).with_name("thumbq")


async def thumbq(server: str, *arguments: str) -> tuple[int, str]:
    """Return the exit code of a command and all its output."""
    process = await asyncio.create_subprocess_exec(
        THUMBQ,
        *arguments,
        "--server",
        server,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


async def test_jobs_are_cancelled_and_retried_by_id(server, queue):
    job_id = await enqueue(queue)
    assert await thumbq(server, "cancel", str(job_id)) == (0, f"Job {job_id} is cancelled.\n")
    assert await dequeue(queue) is None
    assert await thumbq(server, "retry", str(job_id)) == (0, f"Job {job_id} is waiting for a worker again.\n")
    assert (await dequeue(queue)).id == job_id


async def test_all_jobs_of_a_model_are_cancelled(server, queue):
    job_id = await enqueue(queue, 42)
    assert await thumbq(server, "cancel", "--model-id", "42") == (0, f"Job {job_id} is cancelled.\n")
    state = (await queue.GetJob(queue_pb2.GetJobRequest(job_id=job_id))).job.status
    assert state == job_pb2.JOB_STATUS_CANCELLED
    code, output = await thumbq(server, "cancel", "--model-id", "42")
    assert (code, output) == (0, "Model 42 has no job that waits or is being processed.\n")


async def test_an_impossible_request_is_refused_in_a_sentence(server):
    assert await thumbq(server, "cancel", "99") == (1, "thumbq: Thumbnail job with ID 99 was not found.\n")
    assert await thumbq(server, "cancel") == (1, "thumbq: Name jobs by their ids, or a model by --model-id.\n")
