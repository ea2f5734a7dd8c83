"""Threads that read files and may hang in it, as on a network share that stalls. Nothing waits for them."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")

_MOST = 64  # threads at the same time


class Stalled(Exception):
    """A file was not read in time."""


class FileThreads:
    """Runs each step of reading a file in a thread of its own, with a time limit.

    A thread that hangs is left behind: it holds up neither another file nor the end of the process.
    """

    def __init__(self, *, timeout: float) -> None:
        """A step has `timeout` seconds."""
        self._timeout = timeout
        self._free = asyncio.Semaphore(_MOST)
        self._stalled: set[str] = set()

    async def run(self, name: str, step: Callable[[], T], discard: Callable[[T], object] = lambda _result: None) -> T:
        """Return what the step returns. `name` is its file; `discard` gets a result that comes too late.

        Raises Stalled, at once if an earlier step of the same file still hangs.
        """
        if name in self._stalled:
            raise Stalled(name)
        loop = asyncio.get_running_loop()
        result: asyncio.Future[T] = loop.create_future()
        finish = partial(self._finish, name, result, discard)
        started = False
        try:
            async with asyncio.timeout(self._timeout):
                await self._free.acquire()
                started = True
                threading.Thread(target=_work, args=(step, loop, finish), name="file", daemon=True).start()
                return await result
        except TimeoutError:
            if result.done() and not result.cancelled():  # it came at the last moment
                return result.result()
            if started:
                self._stalled.add(name)
            raise Stalled(name) from None

    def _finish(
        self,
        name: str,
        result: asyncio.Future[T],
        discard: Callable[[T], object],
        value: Any,
        error: BaseException | None,
    ) -> None:
        self._free.release()
        self._stalled.discard(name)
        if not result.done():
            if error is None:
                result.set_result(value)
            else:
                result.set_exception(error)
        elif error is None:
            discard(value)


def _work(step: Callable[[], T], loop: asyncio.AbstractEventLoop, finish: Callable[..., None]) -> None:
    value, error = None, None
    try:
        value = step()
    except Exception as caught:  # noqa: BLE001  # it is raised where the result is awaited
        error = caught
    with suppress(RuntimeError):  # the gateway has ended meanwhile
        loop.call_soon_threadsafe(finish, value, error)
