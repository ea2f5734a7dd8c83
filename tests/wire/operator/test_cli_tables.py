"""What commands list: readable on a narrow terminal, and a whole line for each thing in a pipe."""

import asyncio
import os
import re
from asyncio.subprocess import PIPE

import pytest
from rich.cells import cell_len

from tests.support.commands import command
from tests.support.service.served import THUMBQ
from tests.support.terminal import on_terminal
from tests.wire.operator.test_admin import enqueue
from tests.wire.operator.test_cli_interventions import thumbq
from tests.wire.operator.test_dead_letters import dead_letter
from tests.wire.worker import Worker
from thumbq.v1 import queue_pb2

pytestmark = pytest.mark.timeout(400)
ERROR = "\x1b[31m :smile: [red]模型文件无法读取 e\u0301\u200b " + "half of the faces are missing, " * 20 + "the end"
SHOWN = ERROR.replace("\x1b", r"\x1b").replace("\u200b", r"\u200b")
WORKER = "渲染-" + "long-name-" * 6
EVENT = "the texture of the roof was not found, so it is grey " * 4


@pytest.fixture
async def strange(server, queue):
    """A server with a failed job, whose log has a line, a job that waits, and a worker; all with odd texts."""
    log = queue_pb2.LogJobEventRequest(job_id=await dead_letter(queue, 2**63 - 1, ERROR), event_type="remark")
    log.message = EVENT
    await queue.LogJobEvent(log)
    worker = Worker(queue)
    await worker.hello(WORKER)
    await enqueue(queue, 8)
    yield server
    worker.call.cancel()


async def on_narrow_terminal(server: str, *arguments: str) -> list[str]:
    """Return the lines that a command shows on a terminal of 40 columns, without colours."""

    def watched() -> tuple[int, str]:
        with on_terminal([THUMBQ, *arguments, "--server", server], columns=40) as terminal:
            return terminal.ends()

    code, shown = await asyncio.to_thread(watched)
    assert code == 0, shown
    return [re.sub(r"\x1b\[[\d;]*m", "", line).rstrip() for line in shown.splitlines()]


async def test_nothing_is_wider_than_a_narrow_terminal(strange):
    jobs, job, workers, doctor = await asyncio.gather(
        *(on_narrow_terminal(strange, *words) for words in (["jobs"], ["job", "1"], ["workers"], ["doctor"]))
    )
    for line in [*jobs, *workers]:
        assert cell_len(line) <= 40, line
    assert "model     9223372036854775807" in jobs
    assert "model     8" in jobs
    assert "worker    渲染-long-name-long-name-long-" in workers
    assert "attempt  1" in job
    for text in (SHOWN, EVENT):
        assert "".join(text.split()) in "".join("".join(job).split())
    assert "ok  version" in doctor


async def test_a_pipe_gets_each_thing_on_one_whole_line(strange):
    commands = (["jobs"], ["dead"], ["job", "1"], ["workers"])
    outputs = await asyncio.gather(*(thumbq(strange, *words) for words in commands))
    assert {code for code, _ in outputs} == {0}
    jobs, dead, job, workers = (output.splitlines() for _, output in outputs)
    assert (len(jobs), len(dead)) == (3, 2)
    assert jobs[1].endswith(" ago")
    assert jobs[2].endswith(f"  {SHOWN}")
    assert dead[1].endswith(f"  {SHOWN}")
    assert any(line.startswith(f"{WORKER}  ") for line in workers)
    assert [line.endswith(SHOWN) for line in job].count(True) == 2
    assert job[-1].endswith(f"remark  {EVENT.rstrip()}")


async def test_a_pipe_that_takes_colours_gets_whole_lines_too(strange):
    ended = await command("jobs", "--server", strange, variables={"FORCE_COLOR": "1"})
    assert (len(ended.output.splitlines()), SHOWN in ended.output) == (3, True)


async def test_a_notification_in_a_pipe_is_one_line(strange):
    arguments = ["watch", "--after", "earliest", "--server", strange]
    watching = await asyncio.create_subprocess_exec(THUMBQ, *arguments, stdout=PIPE)
    assert watching.stdout
    try:
        async with asyncio.timeout(120):
            line = await anext(line async for line in watching.stdout if b"Failed" in line)
        assert line.decode().endswith(f"  {SHOWN}\n")
    finally:
        watching.kill()
        await watching.wait()


async def test_text_that_the_terminal_has_no_letters_for_is_escaped(strange):
    variables = os.environ | {"PYTHONIOENCODING": "latin-1"}
    listing = await asyncio.create_subprocess_exec(THUMBQ, "jobs", "--server", strange, env=variables, stdout=PIPE)
    output, _ = await listing.communicate()
    assert (listing.returncode, rb"\u6a21\u578b" in output) == (0, True)
