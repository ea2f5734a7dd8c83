"""The tail of the notification log, shared by all subscribers of a process."""

import contextlib
from collections import deque
from collections.abc import Iterator, Sequence

from thumbq_server.domain.records import CommitRecord
from thumbq_server.engine.outage import Outage
from thumbq_server.engine.wakeup import Broadcast, WakeUp
from thumbq_server.storage import notification_log
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.errors import Unavailable

_PAGE = 200


class LogPruned(Exception):
    """The log does not reach back to where the reader is."""


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

    def __init__(self, database: Database, *, ring_size: int = 10_000, poll: float = 1.0) -> None:
        self._database = database
        self._ring_size = ring_size
        self._ring: deque[Commit] = deque()
        self._ring_events = 0
        self._readers = 0
        # The seq that the ring reaches up to; None without readers.
        self._seq: int | None = None
        self._wake_up = WakeUp(poll)
        self._changes = Broadcast()
        self._closed = False
        self._outage = Outage("hub")

    def close(self) -> None:
        """Let every reader end with HubClosed."""
        self._closed = True
        self._changes.announce()

    def wake(self) -> None:
        """Signal that the log may have grown."""
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

    async def after(self, seq: int) -> Sequence[Commit]:
        """Return commits that reach beyond `seq`, in order; wait for the first.

        Raises LogPruned, HubClosed, Unavailable.
        """
        while True:
            if self._closed:
                raise HubClosed
            changed = self._changes.upcoming()
            if self._seq is not None and seq >= self._ring_start():
                if seq < self._seq:
                    return self._from_ring(seq)
            else:
                commits = [Commit(row) for row in await notification_log.after(self._database, seq, _PAGE)]
                if commits:
                    if commits[0].seq_first > seq + 1:
                        raise LogPruned
                    return commits
                if (await notification_log.head(self._database))[1] > seq:
                    # The head moved between the two reads, or the log was pruned to its end.
                    if not await notification_log.after(self._database, seq, 1):
                        raise LogPruned
                    continue
            await changed.wait()

    def _ring_start(self) -> int:
        assert self._seq is not None
        return self._ring[0].seq_first - 1 if self._ring else self._seq

    def _from_ring(self, seq: int) -> list[Commit]:
        newer: list[Commit] = []
        for commit in reversed(self._ring):
            if commit.seq_last <= seq:
                break
            newer.append(commit)
        newer.reverse()
        return newer[:_PAGE]

    async def _tail(self) -> None:
        if self._seq is None:
            seq = (await notification_log.head(self._database))[1]
            if self._readers:
                self._seq = seq
                self._changes.announce()
            return
        while True:
            seq = self._seq
            rows = await notification_log.after(self._database, seq, _PAGE)
            if not rows or not self._readers:
                return
            if rows[0].seq_first > seq + 1:
                # The log was pruned meanwhile. Readers before the hole must find it, so they have to read the log.
                self._ring.clear()
                self._ring_events = 0
            for row in rows:
                commit = Commit(row)
                self._ring.append(commit)
                self._ring_events += commit.seq_last - commit.seq_first + 1
            self._seq = self._ring[-1].seq_last
            while self._ring_events > self._ring_size and len(self._ring) > 1:
                oldest = self._ring.popleft()
                self._ring_events -= oldest.seq_last - oldest.seq_first + 1
            self._changes.announce()
