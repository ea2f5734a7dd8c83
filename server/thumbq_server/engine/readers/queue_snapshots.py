"""Snapshots of the whole queue, for its watchers."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator

from thumbq_server.domain.records import Snapshot
from thumbq_server.engine.wakeup import Broadcast, WakeUp
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.errors import Unavailable
from thumbq_server.storage.reads.snapshot import take_snapshot

_SHORTEST_PAUSE = 0.25
_LONGEST_PAUSE = 10.0
# What is under way is counted row by row: that takes this share of one processor at most.
_LARGEST_SHARE = 0.02


class QueueSnapshots:
    """Takes a snapshot when something happened and there are watchers, at most four times a second."""

    def __init__(self, database: Database, *, poll: float = 1.0) -> None:
        self._database = database
        self._watchers = 0
        self._snapshot: Snapshot | None = None
        self._wake_up = WakeUp(poll)
        self._changes = Broadcast()
        # Set while a watcher has come that found no snapshot.
        self._missed = asyncio.Event()
        self._was_hurried = False
        self._closed = False

    def close(self) -> None:
        """Let every watcher end."""
        self._closed = True
        self._changes.announce()

    def wake(self) -> None:
        """Signal that something happened."""
        if self._watchers:
            self._wake_up.set()

    async def run(self) -> None:
        """Take snapshots until cancelled."""
        while True:
            await self._wake_up.wait()
            if not self._watchers:
                continue
            await self._rest(await self._look())

    async def _look(self) -> float:
        """Take a snapshot, and return how long to wait before the next one."""
        started = time.monotonic()
        try:
            snapshot = await take_snapshot(self._database)
        except Unavailable:
            return _SHORTEST_PAUSE  # nothing was counted, however long that took
        # Without watchers, keep none: it would be old for the next one.
        if self._watchers and (self._snapshot is None or _content(snapshot) != _content(self._snapshot)):
            self._snapshot = snapshot
            self._missed.clear()
            self._changes.announce()
        pause = (time.monotonic() - started) / _LARGEST_SHARE
        return max(_SHORTEST_PAUSE, min(pause, _LONGEST_PAUSE))

    async def _rest(self, seconds: float) -> None:
        """Wait. A watcher that comes and finds no snapshot ends one pause early, and not the next one as well.

        So watchers that come and go all the time do not cost more than twice the share.
        """
        await asyncio.sleep(_SHORTEST_PAUSE)
        seconds -= _SHORTEST_PAUSE
        if self._was_hurried:
            self._was_hurried = False
            await asyncio.sleep(seconds)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                self._was_hurried = await self._missed.wait()

    async def follow(self) -> AsyncGenerator[Snapshot, None]:
        """Yield the present snapshot, and each later one that differs. A slow watcher skips some."""
        self._watchers += 1
        self._wake_up.set()
        if self._snapshot is None:
            self._missed.set()
        seen: Snapshot | None = None
        try:
            while not self._closed:
                if self._snapshot is not None and self._snapshot is not seen:
                    seen = self._snapshot
                    yield seen
                else:
                    await self._changes.upcoming().wait()
        finally:
            self._watchers -= 1
            if not self._watchers:
                self._snapshot = None
                self._missed.clear()


def _content(snapshot: Snapshot) -> tuple[object, ...]:
    return snapshot.counters, snapshot.rendering
