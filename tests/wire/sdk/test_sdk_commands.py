"""The operator's commands against a real server, as processes of their own."""

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckResponse

from tests.support.commands import command
from tests.support.service.keys import make_key
from tests.support.service.served import THUMBQ
from tests.support.terminal import on_terminal
from tests.support.waiting import eventually
from tests.wire.sdk.sdk import HASH, PICTURE, enqueue, working
from thumbq import Job, JobFailed, NewJob, Producer, Thumbnail, options_of, report_progress
from thumbq.v1.job_pb2 import JobStatus
from thumbq.v1.queue_pb2 import LogJobEventRequest

FROM_ALONE = "--from takes everything from the list: give no files and no options of jobs beside it."
NO_OBJECT = "--options must be a JSON object, such as '{{\"size\": 512}}', and not {}."
NOT_TAKEN = "--options cannot be taken as they are:"
INEXACT = f"{NOT_TAKEN} options have a whole number beyond 2^53, which a double cannot hold."
NO_IDS = f"--model-id {2**63 - 1} leaves no ids for 2 files: the largest is {2**63 - 1}."


async def run(*arguments: str, server: str, **variables: str) -> tuple[int, str, str]:
    """Return the exit code, the output and the error output."""
    return await command(*arguments, variables={"THUMBQ_SERVER": server, "COLUMNS": "120"} | variables)


@asynccontextmanager
async def watching(server: str) -> AsyncIterator[asyncio.StreamReader]:
    """Run `thumbq watch` from the start of the log, until the block ends. Yields what it prints."""
    process = await asyncio.create_subprocess_exec(
        THUMBQ, "watch", "--after", "earliest", "--server", server, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout
    try:
        async with asyncio.timeout(60):
            yield process.stdout
    finally:
        process.terminate()
        await process.wait()


@pytest.fixture
async def producer(server: str) -> AsyncIterator[Producer]:
    async with Producer(server) as producer:
        yield producer


async def test_files_are_enqueued_by_what_they_contain(server: str, producer: Producer, tmp_path: Path):
    chair, table = tmp_path / "7-chair-in-oak.glb", tmp_path / "8.glb"
    chair.write_bytes(b"chair")
    table.write_bytes(b"table")

    code, output, _ = await run("enqueue", str(chair), str(table), server=server)

    assert (code, output) == (0, "job 1 for model 7: created\njob 2 for model 8: created\n")
    job = await producer.get(2)
    assert (job.model_id, job.model_hash) == (8, hashlib.sha256(b"table").hexdigest())
    code, output, _ = await run("enqueue", "--model-id", "7", "--hash", job.model_hash, server=server)
    assert (code, output) == (0, "job 3 for model 7: created\n")
    code, output, _ = await run("enqueue", "--model-id", "7", str(chair), server=server)
    assert (code, output) == (0, "job 1 for model 7: existing\n")


async def test_a_job_has_a_kind_and_options_and_is_shown_with_them_and_with_its_progress(
    server: str, producer: Producer, tmp_path: Path
):
    texture, lists = tmp_path / "7.png", tmp_path / "jobs.csv"
    texture.write_bytes(b"texture")
    options = '{"size": 512, "faces": ["front"]}'
    code, output, _ = await run("enqueue", str(texture), "--kind", "Texture", "--options", options, server=server)
    assert (code, output) == (0, "job 1 for model 7: created\n")
    again = ("enqueue", str(texture), "--kind", "Texture", "--options", "{}")
    assert (await run(*again, server=server))[1] == "job 1 for model 7: existing\n"
    assert (await run(*again, "--options-matter", server=server))[1] == "job 1 for model 7: reset\n"
    assert not options_of(await producer.get(1))

    lists.write_text(f'modelId,modelHash,assetType,options\n8,{HASH},Texture,"{{""size"": 64}}"\n9,{HASH},,\n')
    assert (await run("enqueue", "--from", str(lists), server=server))[1] == "2 jobs: 2 created\n"
    (job,) = [job async for job in producer.jobs(model_id=8)]
    assert (job.asset_type, options_of(job)) == ("Texture", {"size": 64})

    _, listed, _ = await run("jobs", server=server)
    heading, model, *textures = [line.split() for line in listed.splitlines()]
    assert heading == ["job", "model", "status", "attempts", "created", "kind"]
    assert [model[-1], *(row[-1] for row in textures)] == ["Model", "Texture", "Texture"]

    seen = asyncio.Event()

    async def render(job: Job) -> Thumbnail:
        report_progress(job, 0.999, "packing")
        await seen.wait()
        return PICTURE

    async def shows_progress() -> str | None:
        shown = (await run("job", str(job.id), server=server))[1]
        return shown if re.search(r"^progress +99 % packing *$", shown, re.MULTILINE) else None

    async with working(server, {"Texture": render}):
        shown = await eventually(shows_progress, 120)
        seen.set()
    assert re.search(r"^kind +Texture *$", shown, re.MULTILINE)
    assert re.search(r'^options +\{"size": 64\} *$', shown, re.MULTILINE)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["7.glb", "--from", "x", "--kind", "Sound"], FROM_ALONE),
        (["--hash", HASH, "--model-id", "1", "--options", "[1]"], NO_OBJECT.format("[1]")),
        (["--hash", HASH, "--model-id", "1", "--options", "{"], NO_OBJECT.format("{")),
        ([], "Give model files, --model-id and --hash, or --from with a list."),
        (["--hash", HASH], "--hash needs the --model-id that it belongs to."),
        (["chair.glb"], "chair.glb is not named by a number, so --model-id has to say which model it is."),
        (["٣.glb"], "٣.glb is not named by a number, so --model-id has to say which model it is."),
        (["0-x.glb"], "0-x.glb is not named by a number, so --model-id has to say which model it is."),
        (["7.glb"], "7.glb cannot be read: No such file or directory."),
        (["--model-id", str(2**63 - 1), "a.glb", "b.glb"], NO_IDS),
        (["--hash", HASH, "--model-id", "1", "--options", '{"seed": 9007199254740993}'], INEXACT),
        (["--hash", HASH, "--model-id", "1", "--options", '{"seed": 9007199254740993.0}'], INEXACT),
        (["--hash", HASH, "--model-id", "1", "--options", '{"a": 1, "a": 2}'], f"{NOT_TAKEN} a stands there twice."),
        (["--hash", HASH, "--model-id", "1", "--options", "[" * 100_000], f"{NOT_TAKEN} it has too many levels."),
    ],
)
async def test_an_unusable_request_is_refused_in_a_sentence(arguments: list[str], sentence: str):
    assert await run("enqueue", *arguments, server="127.0.0.1:1") == (1, "", f"thumbq: {sentence}\n")


async def test_jobs_are_listed(server: str):
    await enqueue(server, 30)
    code, output, _ = await run("jobs", "--limit", "2", server=server)
    heading, *rows = output.splitlines()
    assert code == 0
    assert heading.split() == ["job", "model", "status", "attempts", "created"]
    assert [row.split()[:4] for row in rows] == [["30", "30", "Pending", "0/3"], ["29", "29", "Pending", "0/3"]]
    assert (await run("jobs", "--status", "failed", server=server))[1] == "No such jobs.\n"


async def test_a_job_is_shown_with_the_reason_why_it_waits(server: str, producer: Producer):
    async def handler(job: Job) -> Thumbnail:
        if job.model_id == 1:
            raise JobFailed("a [broken] model", retry_delay=3600)
        return PICTURE

    await enqueue(server, 2)
    _, output, _ = await run("job", "1", server=server)
    assert output.endswith("It is due, but no worker is connected.\n")

    async with working(server, handler):
        assert (await producer.get(2, wait=60)).status == JobStatus.JOB_STATUS_COMPLETED

        async def failed() -> bool:
            return (await producer.get(1)).HasField("error_message")

        await eventually(failed)

    _, output, _ = await run("job", "1", server=server)
    assert "a [broken] model" in output
    assert "Attempt 1 of 3 failed; the next is due at " in output
    _, output, _ = await run("job", "2", server=server)
    assert "It was completed at " in output


async def test_a_job_is_shown_with_what_its_workers_wrote_into_its_log(server, queue):
    await enqueue(server, 1)
    job_id = 1
    for event_type, message, error in (("JobStarted", "started", ""), ("JobFailed", "failed", "no [triangles]")):
        await queue.LogJobEvent(
            LogJobEventRequest(job_id=job_id, event_type=event_type, message=message, error_message=error)
        )
    _, output, _ = await run("job", str(job_id), server=server)
    started, failed = output.splitlines()[-2:]
    assert started.split()[-2:] == ["JobStarted", "started"]
    assert failed.split()[-3:] == ["JobFailed", "no", "[triangles]"]


LONG_ERROR = "\x1b[2J\u202e[red]:bomb: the mesh has " + "a hole and " * 40 + "no end"


def shown_on_terminal(*arguments: str) -> str:
    with on_terminal([THUMBQ, *arguments], columns=80) as terminal:
        return terminal.ends()[1]


async def test_an_error_of_a_stranger_is_shown_whole_and_does_nothing_to_the_terminal(server: str, producer: Producer):
    async def handler(job: Job) -> Thumbnail:
        raise JobFailed(LONG_ERROR, retryable=False)

    await enqueue(server, 1)
    async with working(server, handler):
        assert (await producer.get(1, wait=60)).status == JobStatus.JOB_STATUS_FAILED
    shown = LONG_ERROR.replace("\x1b", r"\x1b").replace("\u202e", r"\u202e")

    _, output, _ = await run("jobs", server=server)
    assert output.endswith(f"ago  {shown}\n")
    output = await asyncio.to_thread(shown_on_terminal, "jobs", "--server", server)
    assert "\x1b[2J" not in output
    plain = re.sub(r"\x1b\[[\d;]*m", "", output)
    assert max(map(len, plain.splitlines())) <= 80
    assert plain.rstrip().endswith("a hole and …")
    assert "".join(shown.split())[:160] in "".join(plain.split())
    _, output, _ = await run("job", "1", server=server)
    assert output.count(shown) == 2
    async with watching(server) as lines:
        while b"Failed" not in (line := await lines.readline()):
            pass
        assert rb"\x1b[2J\u202e[red]:bomb: the" in line


async def test_what_a_server_says_of_its_end_does_nothing_to_the_terminal():
    class Ending(grpc.GenericRpcHandler):
        def service(self, call):
            async def answer(_request: bytes, context: Any) -> bytes:
                if not call.method.endswith("/Check"):
                    await context.abort(grpc.StatusCode.UNAVAILABLE, "\x1b[2J is over")
                return HealthCheckResponse(status=HealthCheckResponse.SERVING).SerializeToString()

            return grpc.unary_unary_rpc_method_handler(answer)

    server = grpc.aio.server(handlers=[Ending()])
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    process = await asyncio.create_subprocess_exec(THUMBQ, "watch", "--server", address, stderr=asyncio.subprocess.PIPE)
    assert process.stderr
    async with asyncio.timeout(60):
        line = await process.stderr.readline()
    process.terminate()
    await process.communicate()
    await server.stop(None)
    assert line.decode() == (f"{address} is away (UNAVAILABLE: \\x1b[2J is over); trying again until it is back\n")


async def test_no_proxy_is_asked_for_a_server_on_this_machine(server: str):
    code, _, _ = await run("health", server=server, http_proxy="http://127.0.0.1:1")
    assert code == 0
    code, _, errors = await run("health", server="queue.invalid:50051", http_proxy="http://queue:hunter2@127.0.0.1:1")
    assert code == 1
    assert "the proxy that http_proxy names, unless no_proxy names the server's host" in errors
    assert "hunter2" not in errors


async def test_an_unknown_job_is_reported_in_a_sentence(server: str):
    assert await run("job", "99", server=server) == (1, "", "thumbq: There is no job 99.\n")


async def test_notifications_are_shown_as_they_come(server: str, producer: Producer):
    await enqueue(server, 1)
    async with watching(server) as lines:
        assert b"model 1        Pending" in await lines.readline()
        await producer.enqueue_one(NewJob(model_id=2, model_hash=HASH))
        assert b"model 2        Pending" in await lines.readline()


async def test_health_is_json_for_scripts_and_the_version_is_told_to_those_with_a_key(server: str, channel: Any):
    known = {"ready": True, "reason": None, "warning": None, "serverVersion": version("thumbq")}
    code, output, _ = await run("health", "--json", server=server)
    assert (code, json.loads(output)) == (0, known)
    key = await make_key(channel, "admin")
    code, output, _ = await run("health", "--json", server=server)
    assert (code, json.loads(output)) == (0, known | {"serverVersion": None})
    code, output, _ = await run("health", "--json", server=server, THUMBQ_API_KEY=key)
    assert (code, json.loads(output)) == (0, known)


async def test_health_is_a_sentence_and_an_exit_code(server: str, unused_tcp_port: int):
    assert await run("health", server=server) == (0, f"The server at {server} is ready.\n", "")
    away = f"127.0.0.1:{unused_tcp_port}"
    assert await run("health", server=away) == (
        1,
        "",
        f"thumbq: The server at {away} cannot be reached. Is `thumbq serve` running?\n",
    )
