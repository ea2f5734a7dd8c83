"""A dispatcher for workers of Models, and one for each other set of kinds that workers take at present."""

import asyncio
import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from thumbq_server.domain.job import Token
from thumbq_server.engine.dispatching.dispatcher import Dispatcher
from thumbq_server.engine.traces import Traces
from thumbq_server.storage.postgres.errors import Unavailable
from thumbq_server.storage.postgres.lane import Lane

Kinds = tuple[str, ...]

# Jobs that are due later get no timer: the poll finds them, up to a second late.
_FAR_SECONDS = 60.0
# Jobs due within this time of each other share a timer.
_TOGETHER_SECONDS = 0.05


class Dispatchers:
    """Signals reach all of them. Those of other kinds than Model share a connection.

    They end with their last worker, when they have given back what claims may have taken whose answers got lost.
    """

    def __init__(
        self,
        lane: Lane,
        kinds_lane: Lane,
        release: Callable[[Sequence[Token], int], Any],
        on_claimed: Callable[[], None] = lambda: None,
        traces: Traces | None = None,
    ) -> None:
        self._kinds_lane = kinds_lane
        self._release = release
        self._on_claimed = on_claimed
        self._traces = traces
        self.models = Dispatcher(lane, release, on_claimed=on_claimed, traces=traces)
        self._of_kinds: dict[Kinds, Dispatcher] = {}
        self._users: dict[Kinds, int] = {}
        self._claimed_before = 0
        # When timers will signal that jobs are due.
        self._moments: set[int] = set()
        self._paused = False
        self._tasks: asyncio.TaskGroup | None = None

    @contextlib.contextmanager
    def of(self, kinds: Kinds) -> Iterator[Dispatcher]:
        """Yield the dispatcher for workers of these kinds; () is Models."""
        if not kinds:
            yield self.models
            return
        dispatcher = self._of_kinds.get(kinds) or self._begin(kinds)
        dispatcher.go_on()
        self._users[kinds] += 1
        try:
            yield dispatcher
        finally:
            self._users[kinds] -= 1
            if not self._users[kinds]:
                dispatcher.end()

    async def run(self) -> None:
        """Match until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            for kinds, dispatcher in self._of_kinds.items():
                tasks.create_task(self._run(kinds, dispatcher))
            # Here and not as a task: a group says nothing of a task of its own that was cancelled.
            await self.models.run()

    def wake(self) -> None:
        """Signal that a job may be due."""
        self.models.wake()
        for dispatcher in self._of_kinds.values():
            dispatcher.wake()

    def wake_in(self, seconds: float) -> None:
        """Signal that a job will be due in `seconds`. One that is due later than in a minute is left to the poll.

        Jobs that are due at about the same time share a timer, however many they are.
        """
        if seconds > _FAR_SECONDS:
            return
        loop = asyncio.get_running_loop()
        moment = math.ceil((loop.time() + seconds + 0.001) / _TOGETHER_SECONDS)
        if moment not in self._moments:
            self._moments.add(moment)
            loop.call_at(moment * _TOGETHER_SECONDS, self._wake_at, moment)

    def _wake_at(self, moment: int) -> None:
        self._moments.discard(moment)
        self.wake()

    def pause(self) -> None:
        """Start no further claim, and tell those that wait for one (shutdown)."""
        self._paused = True
        for dispatcher in (self.models, *self._of_kinds.values()):
            dispatcher.pause()

    def forget(self, error: Unavailable) -> None:
        """Drop all claimants, and tell them that no jobs will come: the sessions that they name are gone."""
        for dispatcher in (self.models, *self._of_kinds.values()):
            dispatcher.forget(error)

    def keep_jobs_back(self) -> bool:
        """Return whether a claimant gets no jobs, since its caller has as many as it may have."""
        return any(dispatcher.keeps_jobs_back() for dispatcher in (self.models, *self._of_kinds.values()))

    def jobs_claimed(self) -> int:
        """Return how many jobs were claimed since the start."""
        living = sum(dispatcher.jobs_claimed() for dispatcher in self._of_kinds.values())
        return self.models.jobs_claimed() + living + self._claimed_before

    def _begin(self, kinds: Kinds) -> Dispatcher:
        dispatcher = Dispatcher(
            self._kinds_lane, self._release, on_claimed=self._on_claimed, kinds=kinds, traces=self._traces
        )
        if self._paused:
            dispatcher.pause()
        self._of_kinds[kinds] = dispatcher
        self._users[kinds] = 0
        if self._tasks is not None:
            self._tasks.create_task(self._run(kinds, dispatcher))
        return dispatcher

    async def _run(self, kinds: Kinds, dispatcher: Dispatcher) -> None:
        """Match until the last worker of these kinds is gone, and forget the dispatcher."""
        await dispatcher.run()
        del self._of_kinds[kinds]
        del self._users[kinds]
        self._claimed_before += dispatcher.jobs_claimed()
