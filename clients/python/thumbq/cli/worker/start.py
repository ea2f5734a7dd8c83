"""Signals that come while a worker starts: they end it. Process 1 of a container otherwise ignores SIGTERM."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

import typer


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Within the block, SIGTERM ends the program."""
    before = signal.signal(signal.SIGTERM, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def ended_in_order() -> Iterator[None]:
    """Within the block, SIGTERM and SIGINT cancel this task, and it ends the command without an error."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task
    signalled = asyncio.Event()

    def end() -> None:
        signalled.set()
        task.cancel()

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number in before:
        loop.add_signal_handler(number, end)
    try:
        yield
    except asyncio.CancelledError:
        if not signalled.is_set():
            raise
        raise typer.Exit from None
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)
