"""The thread on which all workers of a process talk to their servers."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, ClassVar

from thumbq.working.channels import Channels

_Loop = asyncio.AbstractEventLoop
Ended = Callable[[BaseException | None], None]


class NetworkThread:
    """Runs an event loop on a thread for as long as a worker uses it.

    Workers whose loops are of one kind share it. With a thread each, those of a process would take turns at Python's
    lock.
    """

    _lock = threading.Lock()
    # By process, as a fork inherits the entries and not the threads.
    _running: ClassVar[dict[tuple[int, type[_Loop]], NetworkThread]] = {}

    def __init__(self, kind: type[_Loop]) -> None:
        self.loop = kind()
        self.channels = Channels()
        self._key = (os.getpid(), kind)
        self._users = 0
        self._unused = asyncio.Event()
        # Tells the last user that the thread has ended.
        self._say_so: Callable[[], None] = lambda: None
        # A daemon: a program whose handler never returns can still end.
        threading.Thread(target=self._run, name="thumbq-network", daemon=True).start()

    @classmethod
    def join(cls, kind: type[_Loop]) -> NetworkThread:
        """Return the thread with a loop of this kind, for one more user. Each has to `run` something once."""
        with cls._lock:
            thread = cls._running.get((os.getpid(), kind))
            if thread is None:
                thread = cls(kind)
                cls._running[thread._key] = thread
            thread._users += 1
            return thread

    def post(self, call: Callable[..., object], *arguments: Any) -> None:
        """Have `call` called on the thread. A loop that is closed has nothing more to do."""
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(call, *arguments)

    def run(self, work: Coroutine[Any, Any, None], ended: Ended) -> None:
        """Do a user's work. `ended` is called on the thread afterwards, with the exception that `work` raised."""
        try:
            self.loop.call_soon_threadsafe(self._begin, work, ended)
        except RuntimeError:
            # Something ended the whole loop, such as SystemExit in one of its calls.
            work.close()
            ended(None)

    def _begin(self, work: Coroutine[Any, Any, None], ended: Ended) -> None:
        task = self.loop.create_task(work)

        def leave(_: object) -> None:
            self._leave(partial(ended, None if task.cancelled() else task.exception()))

        task.add_done_callback(leave)

    def _leave(self, say_so: Callable[[], None]) -> None:
        with self._lock:
            self._users -= 1
            if self._users:
                say_so()
            else:
                # The last user waits for the thread: a daemon that still runs may disturb the end of Python.
                self._say_so = say_so
                self._forget()
                self._unused.set()

    def _forget(self) -> None:
        if self._running.get(self._key) is self:
            del self._running[self._key]

    def _run(self) -> None:
        try:
            # The end of the Runner cancels what still runs, so that every user learns of it.
            with asyncio.Runner(loop_factory=lambda: self.loop) as runner:
                runner.run(self._wait())
        finally:
            with self._lock:
                self._forget()
            self._say_so()

    async def _wait(self) -> None:
        await self._unused.wait()
