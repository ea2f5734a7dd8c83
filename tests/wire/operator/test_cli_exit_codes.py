"""The exit codes that docs/operations.md promises, and colours on a terminal only."""

import asyncio
from asyncio.subprocess import PIPE

import pytest
from typer.testing import CliRunner

from tests.support.service.served import THUMBQ
from tests.support.terminal import on_terminal
from tests.wire.operator.test_admin import enqueue
from tests.wire.operator.test_cli_interventions import thumbq
from thumbq.cli import app

pytestmark = pytest.mark.timeout(400)


CREATE_KEY = ("keys", "create", "--role", "viewer")
ENQUEUE = ("enqueue", "--model-id", "1", "--hash", "ab" * 32)
WORKER = ("worker", "--models", ".", "--thumbnail-root", ".")
# Bytes that are not UTF-8, as Python shows those of a command line.
IN_LATIN_1 = "St\udcf6rung"


async def test_a_wrong_command_line_exits_with_2(server):
    for arguments in (["jobs", "--limit", "none"], ["explode"], ["job"], ["stats", "--unknown"]):
        assert (await thumbq(server, *arguments))[0] == 2


@pytest.mark.parametrize("number", [2**63, 0, -(2**63) - 1])
@pytest.mark.parametrize(
    "arguments",
    [
        "cancel -- {}",
        "cancel --model-id={}",
        "enqueue --hash=ab --model-id={}",
        "forget --yes -- {}",
        "job -- {}",
        "jobs --model-id={}",
        "retry -- {}",
        "watch --model-id={}",
        "watch --model-id=1 --model-id={}",
    ],
)
def test_a_number_that_is_no_id_exits_with_2(arguments: str, number: int):
    ended = CliRunner().invoke(app, arguments.format(number).split())
    assert (ended.exit_code, "Invalid value for" in ended.output) == (2, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ("audit", "--who"),
        ("audit", "--action"),
        ("audit", "--outcome"),
        ("cancel", "1", "--server"),
        ("dead", "--reason"),
        ("doctor", "--server"),
        (*ENQUEUE, "--hash"),
        (*ENQUEUE, "--kind"),
        (*ENQUEUE, "--options"),
        ("forget", "1", "--yes", "--server"),
        ("health", "--server"),
        ("job", "1", "--server"),
        ("jobs", "--server"),
        ("keys", "list", "--server"),
        ("keys", "revoke", "1", "--server"),
        (*CREATE_KEY, "--name"),
        (*CREATE_KEY, "--name", "ada", "--expires-in"),
        ("pause", "--reason"),
        ("resume", "--server"),
        ("retry", "--yes", "--reason"),
        ("stats", "--server"),
        ("top", "--server"),
        ("watch", "--after"),
        (*WORKER, "--worker-id"),
        (*WORKER, "--thumbnail-store"),
        (*WORKER, "--up", "z", "--up"),
        ("workers", "--server"),
    ],
    ids=" ".join,
)
def test_a_text_that_is_not_utf_8_is_a_sentence(arguments: tuple[str, ...]):
    ended = CliRunner().invoke(app, [*arguments, IN_LATIN_1])
    code = 2 if arguments[0] == "worker" else 1
    assert (ended.exit_code, ended.output) == (code, f"thumbq: {arguments[-1]} is not UTF-8.\n")


def test_an_argument_that_is_not_utf_8_is_a_sentence():
    ended = CliRunner().invoke(app, ["keys", "revoke", IN_LATIN_1])
    assert (ended.exit_code, ended.output) == (1, "thumbq: PREFIX is not UTF-8.\n")


def test_a_list_of_jobs_may_have_a_name_that_is_not_utf_8(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ended = CliRunner().invoke(app, ["enqueue", "--from", IN_LATIN_1])
    assert (ended.exit_code, "cannot be used: No such file or directory." in ended.output) == (1, True)


async def test_the_address_of_something_else_is_a_sentence_and_1():
    for command in (["stats"], ["doctor"], ["watch"]):
        code, output = await thumbq("http://127.0.0.1:5009", *command)
        assert (code, output) == (
            1,
            "thumbq: http://127.0.0.1:5009 is an address of HTTP: that of the gRPC API is host:port, or grpcs://host:port.\n",
        )


async def test_control_c_exits_with_130(server):
    def watched() -> int:
        with on_terminal([THUMBQ, "watch", "--after", "earliest", "--server", server]) as terminal:
            terminal.shows("model 42")
            terminal.type("\x03")
            return terminal.ends()[0]

    async with asyncio.TaskGroup() as group:
        ended = group.create_task(asyncio.to_thread(watched))
        assert await thumbq(server, "enqueue", "--model-id", "42", "--hash", "ab" * 32) == (
            0,
            "job 1 for model 42: created\n",
        )
    assert ended.result() == 130


async def test_colours_are_shown_on_a_terminal_and_nowhere_else(server, queue):
    await enqueue(queue)

    def watched(**variables: str) -> str:
        with on_terminal([THUMBQ, "jobs", "--server", server], variables=variables) as terminal:
            code, shown = terminal.ends()
            assert code == 0
            return shown

    assert "\x1b[33mPending" in await asyncio.to_thread(watched)
    assert "\x1b[33m" not in await asyncio.to_thread(watched, NO_COLOR="1")
    assert "\x1b" not in (await thumbq(server, "jobs"))[1]


async def test_a_question_leaves_the_output_alone(server):
    arguments = [THUMBQ, "retry", "--all", "--server", server]
    started = await asyncio.create_subprocess_exec(*arguments, stdin=PIPE, stdout=PIPE, stderr=PIPE)
    assert await started.communicate(b"y\n") == (
        b"0 jobs are waiting for a worker again.\n",
        b"Start all dead letters again? [y/N]: ",
    )


async def test_a_question_without_a_standard_input_is_a_sentence(server, queue):
    await enqueue(queue)
    shell = ["sh", "-c", 'exec "$0" "$@" <&-', THUMBQ, "cancel", "--all", "--server", server]
    started = await asyncio.create_subprocess_exec(*shell, stderr=PIPE)
    _, errors = await started.communicate()
    sentence = "thumbq: Nothing was done: --yes agrees where no terminal is there to ask."
    assert (started.returncode, errors.decode().splitlines()[1:]) == (1, [sentence])


async def test_a_question_is_answered_on_the_terminal(server, queue):
    await enqueue(queue)

    def watched(answer: str) -> tuple[int, str]:
        with on_terminal([THUMBQ, "cancel", "--all", "--server", server]) as terminal:
            terminal.shows("[y/N]")
            terminal.type(f"{answer}\n")
            return terminal.ends()

    code, shown = await asyncio.to_thread(watched, "n")
    assert (code, "Aborted" in shown) == (1, True)
    code, shown = await asyncio.to_thread(watched, "y")
    assert (code, "1 job is cancelled." in shown) == (0, True)
