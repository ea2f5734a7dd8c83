"""Readers of the log, each at its own pace, and a hub that has read as far as the test wants."""

import asyncio
from collections.abc import Sequence
from itertools import pairwise

from tests.engine.parts import WatchedDatabase, until
from tests.support.postgres.queue_under_test import QueueUnderTest, new_job
from thumbq_server.engine.readers.hub import Commit, Hub
from thumbq_server.storage import notification_log


class Reader:
    """One subscriber, at its own pace."""

    def __init__(self, hub: Hub, seq: int = 0) -> None:
        self.hub = hub
        self.seq = seq
        self.commits: list[Commit] = []

    async def read_on(self) -> None:
        """Read the next commits, which must follow those before."""
        commits = await asyncio.wait_for(self.hub.after(self.seq), 30)
        assert commits[0].seq_first <= self.seq + 1
        for before, after in pairwise(commits):
            assert after.seq_first == before.seq_last + 1
        self.commits += commits
        self.seq = commits[-1].seq_last

    async def read_to(self, seq: int) -> None:
        while self.seq < seq:
            await self.read_on()


async def write(others: QueueUnderTest, sizes: Sequence[int]) -> int:
    """Write a commit with as many notifications as each of `sizes` says. Return the head."""
    head = await seq_of_head(others)
    for size in sizes:
        await others.enqueue(*[new_job(head + n) for n in range(1, size + 1)])
        head += size
    return head


async def seq_of_head(others: QueueUnderTest) -> int:
    return (await notification_log.head(others.database))[1]


async def following(hub: Hub) -> None:
    """Wait until the hub follows the log, since there is a reader."""
    await until(lambda: hub._seq is not None)


async def caught_up(hub: Hub, seq: int) -> None:
    """Wake the hub, and wait until it has read up to `seq` and has ended its look at the log.

    It reads later commits only when it is woken again.
    """
    database = hub._database
    assert isinstance(database, WatchedDatabase)
    hub.wake()
    await until(lambda: hub._seq == seq and not hub._wake_up.pending and not database.in_flight)


def content(commits: Sequence[Commit]) -> list[tuple[object, ...]]:
    return [tuple(commit.row) for commit in commits]
