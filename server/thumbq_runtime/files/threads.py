"""Threads that work on files and may hang in it, as on a network share that stalls. Nothing waits for them."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")

_MOST = 64  # threads at the same time


class Stalled(Exception):
    """A step of work on a file was not done in time."""


class FileThreads:
    """Runs each step of work on a file in a thread of its own, with a time limit.

    A thread that hangs is left behind: it holds up neither another file nor the end of the process.
    """

    def __init__(self, *, timeout: float, most: int = _MOST) -> None:
        """A step has `timeout` seconds. There are `most` threads at the same time."""
        self._timeout = timeout
        self._most = most
        self._free = asyncio.Semaphore(most)
        self._stalled: set[str] = set()

    async def run(self, name: str, step: Callable[[], T], discard: Callable[[T], object] = lambda _result: None) -> T:
        """Return what the step returns. `name` is its file; `discard` gets a result that comes too late.

        Raises Stalled, at once while an earlier step of the same file hangs, or as many steps as there are threads.
        """
        if name in self._stalled or len(self._stalled) >= self._most:
            raise Stalled(name)
        result: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        started = False
        try:
            async with asyncio.timeout(self._timeout):
                await self._free.acquire()
                self._start(name, step, result, discard)
                started = True
                return await result
        except TimeoutError:
            if result.done() and not result.cancelled():  # it came at the last moment
                return result.result()
            if started:
                self._stalled.add(name)
            raise Stalled(name) from None

    def _start(
        self, name: str, step: Callable[[], T], result: asyncio.Future[T], discard: Callable[[T], object]
    ) -> None:
        loop = asyncio.get_running_loop()
        # A step whose caller has gone away may hang as well.
        late = loop.call_later(self._timeout, self._stalled.add, name)
        finish = partial(self._finish, name, result, discard, late)
        try:
            threading.Thread(target=_work, args=(step, loop, finish), name="file", daemon=True).start()
        except RuntimeError:  # the system allows no more threads
            late.cancel()
            self._free.release()
            raise Stalled(name) from None

    def _finish(
        self,
        name: str,
        result: asyncio.Future[T],
        discard: Callable[[T], object],
        late: asyncio.TimerHandle,
        value: Any,
        error: BaseException | None,
    ) -> None:
        late.cancel()
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
    with suppress(RuntimeError):  # the program has ended meanwhile
        loop.call_soon_threadsafe(finish, value, error)
