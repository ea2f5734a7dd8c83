"""`thumbq top` on a real terminal, and without one."""

import asyncio
import re
import signal

import asyncpg
import pytest

from tests.support.network.ports import free_port
from tests.support.service.served import THUMBQ
from tests.support.service.server import running_server
from tests.support.terminal import Terminal, on_terminal
from tests.wire.operator.test_admin import enqueue
from tests.wire.operator.test_cli_interventions import thumbq
from tests.wire.operator.test_dead_letters import dead_letter
from thumbq_runtime.addresses import free_port as is_free
from thumbq_runtime.outage import DATABASE_AWAY
from thumbq_server.storage.postgres.address import parse_address

pytestmark = pytest.mark.timeout(400)
LEAVES_THE_SCREEN = "\x1b[?1049l"


async def watching(server, transcript, **size):
    """Run the transcript beside this loop, on which the server runs; return what it returns."""

    def watched():
        with on_terminal([THUMBQ, "top", "--every", "0.2", "--server", server], **size) as terminal:
            return transcript(terminal)

    return await asyncio.to_thread(watched)


async def test_the_queue_its_workers_and_failures_are_shown_until_q(server, queue):
    await dead_letter(queue, 7, "the \x1b[2J mesh is empty")
    await enqueue(queue, 8)

    def transcript(terminal: Terminal) -> tuple[int, str]:
        terminal.shows(f"thumbq {server}")
        terminal.shows("pending 1   processing 0   completed 0   failed 1")
        terminal.shows("w1")
        terminal.shows(r"the \x1b[2J mesh is empty")
        terminal.type("x")  # means nothing
        terminal.shows("pending 1")
        terminal.type("q")
        return terminal.ends()

    code, rest = await watching(server, transcript)
    assert code == 0
    assert LEAVES_THE_SCREEN in rest


async def test_it_follows_what_happens(server, queue):
    seen = asyncio.Event()
    loop = asyncio.get_running_loop()

    def transcript(terminal: Terminal) -> int:
        terminal.shows("pending 0")
        loop.call_soon_threadsafe(seen.set)
        terminal.shows("pending 1")
        terminal.type("\x03")
        return terminal.ends()[0]

    async with asyncio.TaskGroup() as group:
        watched = group.create_task(watching(server, transcript))
        await seen.wait()
        await enqueue(queue, 8)
    assert watched.result() == 130


async def test_it_fits_a_terminal_of_any_size(server, queue):
    for number in range(30):
        await dead_letter(queue, number + 1, "x" * 300)

    def transcript(terminal: Terminal) -> int:
        terminal.shows("failed for good")
        terminal.resize(40, 12)
        while any(len(row) > 40 for row in rows(terminal.shows("failed for good"))):
            pass
        terminal.type("q")
        return terminal.ends()[0]

    assert await watching(server, transcript, columns=200, lines=50) == 0


async def test_a_server_that_goes_away_is_told_and_found_again(database_url):
    port = free_port()
    address = f"127.0.0.1:{port}"
    away, back = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def transcript(terminal: Terminal) -> int:
        terminal.shows("pending 0")
        loop.call_soon_threadsafe(away.set)
        terminal.shows("no answer for")
        loop.call_soon_threadsafe(back.set)
        while "no answer" in terminal.shows("waiting  "):
            pass
        terminal.type("q")
        return terminal.ends()[0]

    async with asyncio.TaskGroup() as group:
        async with running_server(database_url, grpc_port=port):
            watched = group.create_task(watching(address, transcript))
            await away.wait()
        await back.wait()
        async with running_server(database_url, grpc_port=port):
            await asyncio.wait([watched])
    assert watched.result() == 0


async def test_a_terminal_is_as_before_when_it_is_terminated(server):
    def transcript(terminal: Terminal) -> tuple[int, str]:
        terminal.shows("pending 0")
        terminal.process.send_signal(signal.SIGTERM)
        return terminal.ends()

    code, rest = await watching(server, transcript)
    assert (code, LEAVES_THE_SCREEN in rest) == (0, True)


LINE = r"\d\d:\d\d:\d\d  pending 0  processing 0  completed 0/min  failed 0/min  workers 0"


async def test_without_a_terminal_it_prints_lines(server):
    code, output = await thumbq(server, "top", "--count", "2", "--every", "0.2")
    assert code == 0
    assert len(output.splitlines()) == 2
    assert re.fullmatch(LINE, output.splitlines()[1])


async def test_a_terminal_that_draws_nothing_gets_lines(server):
    def transcript(terminal: Terminal) -> str:
        terminal.shows("pending 0")
        return terminal.shows("workers 0")

    assert "\x1b" not in await watching(server, transcript, variables={"TERM": "dumb"})


async def test_a_server_that_is_not_there_is_a_sentence():
    away = f"127.0.0.1:{is_free('127.0.0.1', 0)}"
    code, output = await thumbq(away, "top")
    assert (code, output) == (1, f"thumbq: The server at {away} cannot be reached. Is `thumbq serve` running?\n")


async def test_tls_that_fails_is_told_at_the_first_look(server):
    address = f"grpcs://{server}"
    code, output = await thumbq(address, "top")
    sentence = output.splitlines()[-1]  # after what gRPC logs of it
    assert (code, "thumbq serve" in sentence) == (1, False)
    assert sentence == (await thumbq(address, "stats"))[1].splitlines()[-1]


async def test_a_database_that_is_away_is_told_at_the_first_look(database_url, postgres):
    """The first look meets a server that has read nothing from its database since it went away."""
    name = parse_address(database_url).database
    connection = await asyncpg.connect(postgres)
    async with running_server(database_url) as server:
        await connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        await connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
        code, output = await thumbq(server, "top")
        assert (code, output) == (1, f"thumbq: {DATABASE_AWAY} `thumbq health` says why.\n")
    await connection.close()


def rows(shown: str) -> list[str]:
    """The lines of what was shown, without the codes for the terminal. One of them leads to the first line."""
    lines = re.sub(r"\x1b\[[0-9;]*H", "\n", shown)
    return re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", lines))
