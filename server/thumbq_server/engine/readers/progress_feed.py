"""How far the jobs under way have come, for all subscribers of this server that ask for it."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Set
from typing import NamedTuple

from thumbq_server.domain.progress import JobProgress
from thumbq_server.engine.wakeup import Broadcast, WakeUp
from thumbq_server.storage import progress
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.errors import Unavailable

_POLL = 0.5
# Those that changed last, when more are under way.
_MOST_JOBS = 5_000
_MOST_AT_ONCE = 1_000


class _Entry(NamedTuple):
    number: int
    progress: JobProgress


class ProgressFeed:
    """Reads what all servers have written down, twice a second at most, while there are readers.

    Readers pull at their own pace and get the newest of each job. So a slow one needs no buffer and delays no other.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._readers = 0
        self._number = 0
        # By job. The numbers rise in the order of the entries.
        self._entries: dict[int, _Entry] = {}
        self._wake_up = WakeUp(_POLL)
        self._changes = Broadcast()
        self._closed = False
        database.history.on_change(self._entries.clear)

    def close(self) -> None:
        """Let every reader end."""
        self._closed = True
        self._changes.announce()

    def wake(self) -> None:
        """Signal that something was written down."""
        self._wake_up.set()

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            await self._wake_up.wait()
            if self._readers:
                with contextlib.suppress(Unavailable):
                    self._take(await progress.current(self._database, _MOST_JOBS))
                await asyncio.sleep(_POLL)

    async def follow(self, model_ids: Set[int]) -> AsyncGenerator[list[JobProgress], None]:
        """Yield what is known of these models (none: all) at present, then what changes, until the feed closes."""
        self._readers += 1
        self.wake()
        seen = 0
        try:
            while not self._closed:
                changed = self._changes.upcoming()
                seen, news = self._after(seen, model_ids)
                if news:
                    yield news
                else:
                    await changed.wait()
        finally:
            self._readers -= 1
            if not self._readers:
                self._entries.clear()  # it would be old for the next one

    def _take(self, found: list[JobProgress]) -> None:
        """Drop the jobs that are not under way any more, and number those that changed."""
        if not self._readers:
            return
        by_job = {row.job_id: row for row in found}
        kept = {job: entry for job, entry in self._entries.items() if by_job.get(job) == entry.progress}
        for job, row in by_job.items():
            if job not in kept:
                self._number += 1
                kept[job] = _Entry(self._number, row)
        self._entries.clear()
        self._entries.update(kept)
        self._changes.announce()

    def _after(self, seen: int, model_ids: Set[int]) -> tuple[int, list[JobProgress]]:
        """Return the first entries after number `seen`, and up to which number they reach."""
        newer: list[_Entry] = []
        for entry in reversed(self._entries.values()):
            if entry.number <= seen:
                break
            if not model_ids or entry.progress.model_id in model_ids:
                newer.append(entry)
        if len(newer) <= _MOST_AT_ONCE:
            return self._number, [entry.progress for entry in reversed(newer)]
        newer = newer[: -_MOST_AT_ONCE - 1 : -1]
        return newer[-1].number, [entry.progress for entry in newer]
