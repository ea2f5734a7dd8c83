"""Group commit without timers."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from thumbq_server.storage.postgres.errors import Unavailable

T = TypeVar("T")
R = TypeVar("R")


class Batcher(Generic[T, R]):
    """A function of items that runs one statement for many callers.

    One statement is in flight at a time (or `at_once` many); calls that arrive meanwhile form the next batch. So an
    idle queue answers after one statement, and a busy one commits hundreds of calls at once. The items of one call
    are never split. `run` takes the items of a batch and returns as many results, in their order. `weigh` counts what
    is in the items, and `observe` gets the weight of each batch.
    """

    def __init__(
        self,
        run: Callable[[Sequence[T]], Awaitable[Sequence[R]]],
        limit: int = 1000,
        at_once: int = 1,
        observe: Callable[[int], None] = lambda _: None,
        weigh: Callable[[Sequence[T]], int] = len,
    ) -> None:
        self._weigh = weigh
        self._observe = observe
        self._run = run
        self._limit = limit
        self._at_once = at_once
        self._waiting: deque[tuple[Sequence[T], asyncio.Future[Sequence[R]]]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __call__(self, items: Sequence[T]) -> Sequence[R]:
        """Return the results for `items`, after their commit. Raises what `run` raises."""
        if not items:
            return []
        future: asyncio.Future[Sequence[R]] = asyncio.get_running_loop().create_future()
        self._waiting.append((items, future))
        if len(self._tasks) < self._at_once:
            self._tasks.add(asyncio.create_task(self._work()))
        return await future

    def refuse_waiting(self, error: Unavailable) -> None:
        """Answer the calls that are in no batch yet with `error`."""
        while self._waiting:
            _, future = self._waiting.popleft()
            if not future.done():
                future.set_exception(error)

    async def drained(self) -> None:
        """Wait until every call is answered."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _work(self) -> None:
        try:
            while self._waiting:
                batch = [self._waiting.popleft()]
                size = self._weigh(batch[0][0])
                while self._waiting and size + (more := self._weigh(self._waiting[0][0])) <= self._limit:
                    batch.append(self._waiting.popleft())
                    size += more
                await self._run_batch(batch)
        finally:
            # Here, not when the task is done: a call that comes in between has to start another task.
            self._tasks = {task for task in self._tasks if task is not asyncio.current_task()}

    async def _run_batch(self, batch: list[tuple[Sequence[T], asyncio.Future[Sequence[R]]]]) -> None:
        items = batch[0][0] if len(batch) == 1 else [item for items, _ in batch for item in items]
        self._observe(self._weigh(items))
        try:
            results = await self._run(items)
        except Exception as error:  # noqa: BLE001 - every error belongs to the callers
            if len(batch) == 1 or isinstance(error, Unavailable):
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
            else:
                # One call that PostgreSQL chokes on must not fail its neighbours.
                for submission in batch:
                    await self._run_batch([submission])
            return
        start = 0
        for submitted, future in batch:
            if not future.done():
                future.set_result(results[start : start + len(submitted)])
            start += len(submitted)
