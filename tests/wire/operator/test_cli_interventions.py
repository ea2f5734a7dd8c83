"""The operator's commands against a real server."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc

from tests.support.commands import command
from tests.wire.operator.test_admin import dequeue, enqueue
from tests.wire.operator.test_dead_letters import dead_letter
from tests.wire.sdk import sdk
from thumbq.v1 import job_pb2, queue_pb2

NAME_JOBS = "thumbq: Name jobs by their ids, a model by --model-id, a --status, or --all.\n"
# `thumbq` for a user that the system cannot name.
NAMELESS = """
import pwd
def unknown(number):
    raise KeyError(f"getpwuid(): uid not found: {number}")
pwd.getpwuid = unknown
from thumbq.cli import main
main()
"""


async def thumbq(server: str, *arguments: str) -> tuple[int, str]:
    """Return the exit code of a command and all its output."""
    ended = await command(*arguments, "--server", server, together=True)
    return ended.code, ended.output


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
    assert await thumbq(server, "cancel") == (1, NAME_JOBS)


async def test_jobs_that_were_cancelled_before_one_that_cannot_be_are_told(server, queue):
    job_id = await enqueue(queue)
    code, output = await thumbq(server, "cancel", str(job_id), "99", str(job_id))
    assert (code, output.splitlines()) == (
        1,
        [f"Job {job_id} is cancelled.", "thumbq: Thumbnail job with ID 99 was not found."],
    )


async def test_all_waiting_jobs_are_cancelled_only_when_the_operator_agrees(server, queue):
    held = await enqueue(queue, 1)
    assert (await dequeue(queue)).id == held
    for model_id in (2, 3):
        await enqueue(queue, model_id)
    code, output = await thumbq(server, "cancel", "--status", "pending")  # nothing answers
    assert code == 1
    assert "Cancel all jobs that are pending?" in output
    assert output.endswith("\nthumbq: Nothing was done: --yes agrees where no terminal is there to ask.\n")
    assert await thumbq(server, "cancel", "--status", "pending", "--yes") == (0, "2 jobs are cancelled.\n")
    assert await thumbq(server, "cancel", "--all", "--yes") == (0, "1 job is cancelled.\n")


async def test_a_flood_is_cancelled_page_by_page(server):
    await sdk.enqueue(server, 2500)
    async with calls_noted(server) as (between, noted):
        assert await thumbq(between, "cancel", "--status", "pending", "--yes") == (0, "2500 jobs are cancelled.\n")
    assert noted == ["GetStats", *["ListJobs", "CancelJobs"] * 3]


async def test_an_address_in_brackets_is_shown_as_it_is(server, tmp_path):
    folder = tmp_path / "[red]" / "[fd00::5]"
    folder.mkdir(parents=True)
    async with calls_noted(server, f"unix:{folder}/queue") as (address, _):
        assert await thumbq(address, "health") == (0, f"The server at {address} is ready.\n")


async def test_dead_letters_are_listed_and_started_again_by_their_reason(server, queue):
    await dead_letter(queue, 1, "the texture is \x1b[2J missing")
    mesh = await dead_letter(queue, 2, "the mesh is empty")
    code, output = await thumbq(server, "dead", "--reason", "TEXTURE")
    assert code == 0
    assert r"the texture is \x1b[2J missing" in output
    assert "mesh" not in output
    assert [job["id"] for job in (await in_json(server, "dead"))] == [mesh, 1]
    assert await thumbq(server, "retry", "--reason", "texture", "--yes") == (
        0,
        "1 job is waiting for a worker again.\n",
    )
    assert await thumbq(server, "retry", "--all", "--yes") == (0, "1 job is waiting for a worker again.\n")
    assert await thumbq(server, "dead") == (0, "No dead letters.\n")
    assert await thumbq(server, "dead", "--reason", "texture") == (0, "No such dead letters.\n")


async def test_the_queue_is_paused_with_a_reason_that_others_see(server, queue):
    code, _ = await thumbq(server, "pause", "--reason", "a disk is full")
    assert code == 0
    job_id = await enqueue(queue)
    assert "(a disk is full)" in (await thumbq(server, "stats"))[1]
    why = await in_json(server, "job", str(job_id))
    assert (why["reason"], why["pause"]["reason"], why["attempts"], why["events"]) == (
        "Paused",
        "a disk is full",
        [],
        [],
    )
    assert "the queue is paused by " in (await thumbq(server, "job", str(job_id)))[1]
    assert (await thumbq(server, "resume"))[1].startswith("The queue hands out jobs again; it was paused by ")
    assert await thumbq(server, "resume") == (0, "The queue was not paused.\n")


async def test_a_user_without_a_name_pauses_under_a_number(server):
    arguments = ["-c", NAMELESS, "pause", "--server", server]
    paused = await asyncio.create_subprocess_exec(sys.executable, *arguments, env={"PATH": os.environ["PATH"]})
    assert await paused.wait() == 0
    assert f"The queue is paused by {os.getuid()}@" in (await thumbq(server, "stats"))[1]


async def test_figures_workers_and_attempts_are_shown(server, queue):
    assert await thumbq(server, "workers") == (0, "No worker is connected.\n")
    job_id = await dead_letter(queue, 1, "no mesh")
    figures = await in_json(server, "stats")
    assert (figures["failed"], figures["pause"], figures["workers"]) == (1, None, 1)
    assert "failed" in (await thumbq(server, "stats"))[1]
    [worker] = await in_json(server, "workers")
    assert worker["workerId"] == "w1"
    assert {"completed", "failed", "completedPerMinute"} <= worker.keys()
    headings, _ = (await thumbq(server, "workers"))[1].splitlines()
    assert headings.split("  ") == ["worker", "jobs", "per min", "failed", "heard of", "version", "labels"]
    [attempt] = (await in_json(server, "job", str(job_id)))["attempts"]
    assert (attempt["outcome"], attempt["errorMessage"]) == ("Failed", "no mesh")
    last = (await thumbq(server, "job", str(job_id)))[1].splitlines()[-1].split()
    assert (last[:2], last[-3:]) == (["1", "w1"], ["Failed", "no", "mesh"])
    assert [job["status"] for job in await in_json(server, "jobs")] == ["Failed"]


@asynccontextmanager
async def calls_noted(behind: str, at: str = "") -> AsyncIterator[tuple[str, list[str]]]:
    """Run a server that passes calls on to the one behind. Yield its address, and the names of the calls so far."""
    noted: list[str] = []

    class PassedOn(grpc.GenericRpcHandler):
        def service(self, call):
            async def pass_on(request, _context):
                noted.append(call.method.rpartition("/")[2])
                return await channel.unary_unary(call.method)(request)

            return grpc.unary_unary_rpc_method_handler(pass_on)

    async with grpc.aio.insecure_channel(behind) as channel:
        server = grpc.aio.server(handlers=[PassedOn()])
        port = server.add_insecure_port(at or "127.0.0.1:0")
        await server.start()
        try:
            yield at or f"127.0.0.1:{port}", noted
        finally:
            await server.stop(None)


async def in_json(server, *arguments):
    code, output = await thumbq(server, *arguments, "--json")
    assert code == 0
    return json.loads(output)
