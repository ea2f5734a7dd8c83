"""The calls under way: each ends when its caller is no longer admitted."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import grpc

from thumbq_server.access.keyring import Caller


class CallEnded(Exception):
    """The caller of a call that was under way is no longer admitted."""


class OpenCalls:
    """Knows which task serves which caller."""

    def __init__(self, still_admits: Callable[[Caller], bool]) -> None:
        self._still_admits = still_admits
        self._tasks: dict[Caller, set[asyncio.Task[object]]] = {}
        self._ended: set[asyncio.Task[object]] = set()

    @contextmanager
    def under_way(self, caller: Caller) -> Iterator[None]:
        """Serve a call in the present task. Raises CallEnded when the caller is no longer admitted."""
        task = asyncio.current_task()
        assert task
        tasks = self._tasks.setdefault(caller, set())
        tasks.add(task)
        try:
            yield
        except asyncio.CancelledError:
            if task not in self._ended:
                raise
            task.uncancel()
            raise CallEnded from None
        finally:
            tasks.discard(task)
            self._ended.discard(task)
            if not tasks:
                self._tasks.pop(caller, None)

    def look(self) -> None:
        """End the calls of callers that are no longer admitted."""
        for caller, tasks in list(self._tasks.items()):
            if not self._still_admits(caller):
                for task in tasks - self._ended:
                    self._ended.add(task)
                    task.cancel()


ENDED = grpc.StatusCode.UNAUTHENTICATED, "The API key of this call has ended."
