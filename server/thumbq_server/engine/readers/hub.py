"""The tail of the notification log, shared by all subscribers of a process."""

import asyncio
import contextlib
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import takewhile

from thumbq_server.domain.records import CommitRecord
from thumbq_server.engine.outage import Outage
from thumbq_server.engine.wakeup import Broadcast, WakeUp
from thumbq_server.metrics.observer import Observer
from thumbq_server.storage import notification_log
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.errors import Unavailable

# The most commits of a page, and the most notifications of one that does not begin with a larger commit.
_PAGE = 200
_PAGE_EVENTS = 2000
# Readers that are far behind share the newest pages read.
_PAGES = 8


class LogPruned(Exception):
    """The log does not reach back to where the reader is."""


class LogReplaced(LogPruned):
    """The log is another one: the database has another history."""


class HubClosed(Exception):
    """The process is going away."""


class Commit:
    """The notifications of one commit, as they stand in the log: seq_first to seq_last."""

    __slots__ = ("__weakref__", "row", "seq_first", "seq_last")

    def __init__(self, row: CommitRecord) -> None:
        self.row = row
        self.seq_first = row.seq_first
        self.seq_last = row.seq_last


class Hub:
    """Lets readers pull at their own pace, so that a slow one needs no buffer and delays no other.

    A reader near the head reads the ring, which the hub fills while there are readers; a reader that fell behind reads
    the log. Both are contiguous, so going from one to the other neither skips nor repeats.
    """

    def __init__(
        self, database: Database, *, ring_size: int = 10_000, poll: float = 1.0, observer: Observer | None = None
    ) -> None:
        self._observer = observer or Observer()
        self._database = database
        self._ring_size = ring_size
        self._ring: deque[Commit] = deque()
        self._ring_events = 0
        self._readers = 0
        self._pages: OrderedDict[int, asyncio.Task[list[Commit]]] = OrderedDict()
        # The seq that the ring reaches up to; None without readers.
        self._seq: int | None = None
        self._wake_up = WakeUp(poll)
        self._changes = Broadcast()
        self.is_closed = False
        self._outage = Outage("hub")
        self.history = database.history
        self.history.on_change(self._forget)

    def close(self) -> None:
        """Let every reader end with HubClosed."""
        self.is_closed = True
        self._changes.announce()

    def wake(self) -> None:
        """Signal that the log may have grown."""
        if self._readers:
            self._wake_up.set()

    async def run(self) -> None:
        """Tail the log until cancelled."""
        while True:
            await self._wake_up.wait()
            if self._readers:
                try:
                    await self._tail()
                    self._outage.ended()
                except Unavailable as error:
                    self._outage.began(error)

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Keep the ring filled while the caller reads."""
        self._readers += 1
        self._wake_up.set()
        try:
            yield
        finally:
            self._readers -= 1
            if not self._readers:
                self._ring.clear()
                self._ring_events = 0
                self._seq = None
                self._pages.clear()

    async def after(self, seq: int) -> Sequence[Commit]:
        """Return commits that reach beyond `seq`, in order; wait for the first.

        Raises LogPruned, LogReplaced, HubClosed, Unavailable.
        """
        version = self.history.version
        while True:
            if version != self.history.version:
                raise LogReplaced
            if self.is_closed:
                raise HubClosed
            changed = self._changes.upcoming()
            if self._seq is not None and seq >= self._ring_start():
                if seq < self._seq:
                    return self._from_ring(seq)
            elif commits := await self._from_log(seq):
                if version != self.history.version:
                    raise LogReplaced
                return commits
            elif (await notification_log.head(self._database)).seq > seq:
                continue  # the head moved between the two reads
            await changed.wait()

    async def _from_log(self, seq: int) -> list[Commit]:
        """Return commits that reach beyond `seq`. Raises LogPruned, also when the log was pruned to its end."""
        commits = await self._page(seq)
        if commits and commits[0].seq_first > seq + 1:
            raise LogPruned
        behind = not commits and (await notification_log.head(self._database)).seq > seq
        if behind and not await notification_log.after(self._database, seq, 1):
            raise LogPruned
        return commits

    def _forget(self) -> None:
        """Drop what was read, since it belongs to a history that is over, and tell all readers."""
        self._ring.clear()
        self._ring_events = 0
        self._seq = None
        self._pages.clear()
        self._changes.announce()
        self._wake_up.set()

    async def _page(self, seq: int) -> list[Commit]:
        """Return the commits after `seq`, from the log. Readers that are at the same place share one answer."""
        page = self._pages.get(seq)
        if page is None:
            page = self._pages[seq] = asyncio.create_task(self._read_page(seq))
            if len(self._pages) > _PAGES:
                self._pages.popitem(last=False)
        return await asyncio.shield(page)

    async def _read_page(self, seq: int) -> list[Commit]:
        commits: list[Commit] = []
        version = self.history.version
        try:
            rows = await notification_log.after(self._database, seq, _PAGE, _PAGE_EVENTS)
            commits = [Commit(row) for row in rows]
            if commits:
                self.history.has_reached(commits[-1].seq_last, version)
        finally:
            if not commits and self._pages.get(seq) is asyncio.current_task():
                del self._pages[seq]
        return commits

    def _ring_start(self) -> int:
        assert self._seq is not None
        return self._ring[0].seq_first - 1 if self._ring else self._seq

    def _from_ring(self, seq: int) -> list[Commit]:
        newer = list(takewhile(lambda commit: commit.seq_last > seq, reversed(self._ring)))[-_PAGE:]
        newer.reverse()
        limit = newer[0].seq_last + _PAGE_EVENTS
        return [commit for commit in newer if commit.seq_last <= limit]

    async def _tail(self) -> None:
        version = self.history.version
        if self._seq is None:
            seq = (await notification_log.head(self._database))[1]
            if self._readers and version == self.history.version:
                self._seq = seq
                self._changes.announce()
            return
        while True:
            seq = self._seq
            rows = await notification_log.after(self._database, seq, _PAGE, _PAGE_EVENTS)
            if not rows or not self._readers or version != self.history.version:
                return
            if rows[0].seq_first > seq + 1:
                # The log was pruned meanwhile. Readers before the hole must find it, so they have to read the log.
                self._ring.clear()
                self._ring_events = 0
            self._observer.notified(max(0.0, (datetime.now(UTC) - rows[0].created_at).total_seconds()))
            for row in rows:
                commit = Commit(row)
                self._ring.append(commit)
                self._ring_events += commit.seq_last - commit.seq_first + 1
            self._seq = self._ring[-1].seq_last
            self.history.has_reached(self._seq, version)
            while self._ring_events > self._ring_size and len(self._ring) > 1:
                oldest = self._ring.popleft()
                self._ring_events -= oldest.seq_last - oldest.seq_first + 1
            self._changes.announce()
