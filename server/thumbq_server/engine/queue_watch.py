"""The state of the queue, for those who watch it."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from thumbq_server.domain.records import Snapshot
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.errors import Unavailable
from thumbq_server.storage.reads.snapshot import take_snapshot

_SHORTEST_PAUSE = 0.25
# A count of a large queue takes its time: it may have this share of a connection, no more.
_LARGEST_SHARE = 0.1


class QueueWatch:
    """Takes a snapshot when something happened and somebody watches, at most four times a second."""

    def __init__(self, database: Database, *, poll: float = 1.0) -> None:
        self._database = database
        self._poll = poll
        self._watchers = 0
        self._snapshot: Snapshot | None = None
        self._wake = asyncio.Event()
        self._changed = asyncio.Event()
        self._closed = False

    def close(self) -> None:
        """Let every watcher end."""
        self._closed = True
        self._changed.set()

    def wake(self) -> None:
        """Say that something happened."""
        self._wake.set()

    async def run(self) -> None:
        """Take snapshots for ever."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._poll):
                    await self._wake.wait()
            self._wake.clear()
            if not self._watchers:
                continue
            started = time.monotonic()
            with contextlib.suppress(Unavailable):
                snapshot = await take_snapshot(self._database)
                # who came and went meanwhile leaves nothing behind that would be old to the next
                if self._watchers and (self._snapshot is None or _content(snapshot) != _content(self._snapshot)):
                    self._snapshot = snapshot
                    self._changed.set()
                    self._changed = asyncio.Event()
            took = time.monotonic() - started
            await asyncio.sleep(max(_SHORTEST_PAUSE, took / _LARGEST_SHARE))

    async def snapshots(self) -> AsyncIterator[Snapshot]:
        """The present snapshot, and each later one that differs. A slow watcher skips some."""
        self._watchers += 1
        self._wake.set()
        seen: Snapshot | None = None
        try:
            while not self._closed:
                if self._snapshot is not None and self._snapshot is not seen:
                    seen = self._snapshot
                    yield seen
                else:
                    await self._changed.wait()
        finally:
            self._watchers -= 1
            if not self._watchers:
                self._snapshot = None


def _content(snapshot: Snapshot) -> tuple[object, ...]:
    return snapshot.counters, snapshot.rendering
