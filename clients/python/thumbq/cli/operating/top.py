"""`thumbq top`: the queue on the terminal, live."""

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated

import grpc
import typer
from rich.live import Live

from thumbq.cli.errors import TIMEOUT, run
from thumbq.cli.operating.top_view import Seen, line, screen
from thumbq.cli.options import LOCAL, Server
from thumbq.cli.output.formatting import is_on_terminal, out
from thumbq.connection import open_channel
from thumbq.v1.admin_pb2 import GetStatsRequest, ListDeadLettersRequest, ListWorkersRequest
from thumbq.v1.admin_pb2_grpc import AdminServiceStub

if TYPE_CHECKING:
    from thumbq.v1.admin_pb2_grpc import AdminServiceAsyncStub

_AWAY = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}
_CONTROL_C = "\x03"
_DEAD_LETTERS = 20


def top(
    every: Annotated[float, typer.Option(min=0.2, help="Seconds between two looks.")] = 2.0,
    count: Annotated[int, typer.Option(min=0, show_default="until q", help="Looks after which it ends.")] = 0,
    server: Server = LOCAL,
) -> None:
    """Watch the queue, its workers and the last failures live; q ends it. Without a terminal it prints a line a look.

    Example: thumbq top --every 5
    """
    run(server, _top(server, every, count))


async def _top(server: str, every: float, count: int) -> None:
    seen = Seen(server)
    async with open_channel(server) as channel:
        admin = AdminServiceStub(channel)
        await _look(admin, seen)
        # Windows has no termios.
        if is_on_terminal(out) and not out.is_dumb_terminal and sys.stdin.isatty() and find_spec("termios"):
            await _on_terminal(admin, seen, every, count)
        else:
            await _in_lines(admin, seen, every, count)


async def _in_lines(admin: "AdminServiceAsyncStub", seen: Seen, every: float, count: int) -> None:
    out.print(line(seen), soft_wrap=True)
    for _ in _looks(count):
        await asyncio.sleep(every)
        await _look_again(admin, seen)
        out.print(line(seen), soft_wrap=True)


async def _on_terminal(admin: "AdminServiceAsyncStub", seen: Seen, every: float, count: int) -> None:
    ended = asyncio.Event()
    with Live(console=out, screen=True, auto_refresh=False) as live, _keys(ended):

        def draw() -> None:
            live.update(screen(seen, out.height), refresh=True)

        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGWINCH, draw)
        loop.add_signal_handler(signal.SIGTERM, ended.set)
        draw()
        for _ in _looks(count):
            with suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), every)
            if ended.is_set():
                break
            await _look_again(admin, seen)
            draw()


def _looks(count: int) -> Iterator[int]:
    """Yield once for each look after the first: without an end if `count` is 0."""
    number = 1
    while not count or number < count:
        yield number
        number += 1


@contextmanager
def _keys(ended: asyncio.Event) -> Iterator[None]:
    """Take single keys, unseen: q sets `ended`. The terminal is as before when the block ends."""
    import termios
    import tty

    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    tty.setcbreak(terminal)

    def read() -> None:
        keys = os.read(terminal, 100).decode(errors="replace")
        if not keys or set(keys) & {"q", "Q", _CONTROL_C}:
            ended.set()

    loop = asyncio.get_running_loop()
    loop.add_reader(terminal, read)
    try:
        yield
    finally:
        loop.remove_reader(terminal)
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


async def _look_again(admin: "AdminServiceAsyncStub", seen: Seen) -> None:
    try:
        await _look(admin, seen)
    except grpc.aio.AioRpcError as error:
        if error.code() not in _AWAY:
            raise
        seen.away_since = seen.away_since or datetime.now(UTC)


async def _look(admin: "AdminServiceAsyncStub", seen: Seen) -> None:
    stats = await admin.GetStats(GetStatsRequest(), timeout=TIMEOUT)
    answer = await admin.ListWorkers(ListWorkersRequest(), timeout=TIMEOUT)
    dead = await admin.ListDeadLetters(ListDeadLettersRequest(page_size=_DEAD_LETTERS), timeout=TIMEOUT)
    seen.stats = stats
    seen.workers = [worker for worker in answer.workers if not worker.gone]
    seen.dead_letters = list(dead.jobs)
    seen.away_since = None
    seen.looked()
