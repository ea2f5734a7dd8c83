"""The tail of the log: whoever reads, however slowly, sees every commit once and in order."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise

import pytest
from structlog.testing import capture_logs

from tests.engine.conftest import NEVER
from tests.engine.parts import WatchedDatabase, away, ends_when_cancelled, running, turns, until
from tests.support.conditions import at_once
from tests.support.queue_under_test import QueueUnderTest, new_job
from thumbq_server.engine.hub import Commit, Hub, HubClosed, LogPruned
from thumbq_server.storage import notification_log
from thumbq_server.storage.postgres.errors import Unavailable

RING_SIZE = 20


@pytest.fixture
async def hub(watched: WatchedDatabase) -> AsyncIterator[Hub]:
    """A hub that is told of nothing unless the test tells it."""
    hub = Hub(watched, ring_size=RING_SIZE, poll=NEVER)
    async with running(hub.run()):
        yield hub


class Reader:
    """One subscriber, at its own pace."""

    def __init__(self, hub: Hub, seq: int = 0) -> None:
        self.hub = hub
        self.seq = seq
        self.commits: list[Commit] = []

    async def read_on(self) -> None:
        """Take what comes next; it follows upon what was read before."""
        commits = await asyncio.wait_for(self.hub.after(self.seq), 10)
        assert commits[0].seq_first <= self.seq + 1
        for before, after in pairwise(commits):
            assert after.seq_first == before.seq_last + 1
        self.commits += commits
        self.seq = commits[-1].seq_last

    async def read_to(self, seq: int) -> None:
        while self.seq < seq:
            await self.read_on()


async def write(others: QueueUnderTest, sizes: Sequence[int]) -> int:
    """As many commits, of so many notifications each; returns the head."""
    head = await seq_of_head(others)
    for size in sizes:
        await others.enqueue(*[new_job(head + n) for n in range(1, size + 1)])
        head += size
    return head


async def seq_of_head(others: QueueUnderTest) -> int:
    return (await notification_log.head(others.database))[1]


async def following(hub: Hub) -> None:
    """Wait until the hub follows the log: there is a reader."""
    await until(lambda: hub._seq is not None)


async def caught_up(hub: Hub, seq: int) -> None:
    """Tell the hub, and wait until it has read so far."""
    hub.wake()
    await until(lambda: hub._seq == seq)


def content(commits: Sequence[Commit]) -> list[tuple[object, ...]]:
    return [tuple(commit.row) for commit in commits]


# what a reader gets


async def test_a_reader_waits_for_what_comes_next(hub: Hub, others: QueueUnderTest):
    with hub.reading():
        await following(hub)
        reader = Reader(hub)
        reading = asyncio.create_task(reader.read_on())
        await turns()
        assert not reading.done()
        await write(others, [3])
        hub.wake()
        await reading
    assert [(commit.seq_first, commit.seq_last) for commit in reader.commits] == [(1, 3)]


async def test_ring_and_log_give_the_same(hub: Hub, watched: WatchedDatabase, others: QueueUnderTest):
    with hub.reading():
        await following(hub)
        await write(others, [1, 4, 2, 7])
        await caught_up(hub, 14)
        watched.asked.clear()
        from_ring = Reader(hub)
        await from_ring.read_to(14)
        assert watched.asked == []
    from_log = Reader(hub)
    await from_log.read_to(14)
    assert watched.asked != []
    assert content(from_ring.commits) == content(from_log.commits)


@pytest.mark.parametrize("seq", range(15))
async def test_a_reader_goes_on_from_wherever_it_is_also_in_the_middle_of_a_commit(
    hub: Hub, others: QueueUnderTest, seq: int
):
    with hub.reading():
        await following(hub)
        await write(others, [1, 4, 2, 7, 1])
        await caught_up(hub, 15)
        from_ring = await hub.after(seq)
    from_log = await hub.after(seq)
    assert content(from_ring) == content(from_log)
    assert from_ring[0].seq_first <= seq + 1 <= from_ring[0].seq_last
    assert from_ring[-1].seq_last == 15


async def test_a_reader_that_falls_behind_the_ring_neither_misses_nor_repeats(
    hub: Hub, watched: WatchedDatabase, others: QueueUnderTest
):
    """It goes from the log to the ring, and is overtaken again, while others write."""
    dice = random.Random(1)
    slow, quick = Reader(hub), Reader(hub)
    with hub.reading():
        await following(hub)
        for _ in range(12):
            head = await write(others, [dice.randint(1, 12) for _ in range(dice.randint(1, 6))])
            await caught_up(hub, head)
            await quick.read_to(head)
            if dice.random() < 0.6:
                await slow.read_on()
        await slow.read_to(quick.seq)
        watched.asked.clear()
        head = await write(others, [2])
        await caught_up(hub, head)
        await quick.read_to(head)
        await slow.read_to(head)
        assert len(watched.asked) == 2, "the hub looked twice; the reader is back on the ring"
    assert content(slow.commits) == content(quick.commits)
    assert content(slow.commits) == [tuple(row) for row in await notification_log.after(others.database, 0, 1000)]


async def test_the_ring_keeps_no_more_notifications_than_it_may_except_the_newest_commit(
    hub: Hub, others: QueueUnderTest
):
    with hub.reading():
        await following(hub)
        for size, kept in [(8, 8), (8, 16), (8, 16), (4, 20), (30, 30), (1, 1)]:
            await caught_up(hub, await write(others, [size]))
            assert sum(commit.seq_last - commit.seq_first + 1 for commit in hub._ring) == hub._ring_events == kept


async def test_pages_are_bounded(
    monkeypatch: pytest.MonkeyPatch, hub: Hub, watched: WatchedDatabase, others: QueueUnderTest
):
    monkeypatch.setattr("thumbq_server.engine.hub._PAGE", 3)
    with hub.reading():
        await following(hub)
        await caught_up(hub, await write(others, [1] * 8))
        from_ring = Reader(hub)
        await from_ring.read_to(8)
        assert [len(await hub.after(seq)) for seq in range(8)] == [3, 3, 3, 3, 3, 3, 2, 1]
    assert [len(await hub.after(seq)) for seq in range(8)] == [3, 3, 3, 3, 3, 3, 2, 1]
    assert [commit.seq_last for commit in from_ring.commits] == list(range(1, 9))


async def test_what_was_encoded_once_is_there_for_the_other_readers(hub: Hub, others: QueueUnderTest):
    with hub.reading():
        await following(hub)
        await caught_up(hub, await write(others, [1]))
        (commit,) = await hub.after(0)
        commit.encoded = "encoded"
        (again,) = await hub.after(0)
        assert again.encoded == "encoded"


# who reads from PostgreSQL


async def test_many_readers_share_one_tail(hub: Hub, watched: WatchedDatabase, others: QueueUnderTest):
    with hub.reading():
        await following(hub)
        readers = [Reader(hub) for _ in range(50)]
        reading = [asyncio.create_task(reader.read_to(6)) for reader in readers]
        await turns()
        watched.asked.clear()
        await write(others, [1, 2, 3])
        hub.wake()
        await asyncio.gather(*reading)
        await until(lambda: len(watched.asked) == 2)
    assert len({tuple(id(commit) for commit in reader.commits) for reader in readers}) == 1


async def test_nothing_is_read_while_nobody_reads(hub: Hub, watched: WatchedDatabase, others: QueueUnderTest):
    for _ in range(3):
        await write(others, [1])
        hub.wake()
        await until(lambda: not hub._wake.is_set())
        await turns()
    assert watched.asked == []
    with hub.reading():
        await following(hub)
        assert len(watched.asked) == 1
    watched.asked.clear()
    hub.wake()
    await until(lambda: not hub._wake.is_set())
    await turns()
    assert watched.asked == []
    assert not hub._ring


async def test_readers_that_come_and_go_leave_the_others_what_they_need(hub: Hub, others: QueueUnderTest):
    async def visit(number: int) -> None:
        dice = random.Random(number)
        reader = Reader(hub)
        while reader.seq < 60:
            with hub.reading():
                for _ in range(dice.randint(1, 3)):
                    if reader.seq < 60:
                        await reader.read_on()
        assert content(reader.commits) == [tuple(row) for row in await notification_log.after(others.database, 0, 1000)]

    async def keep_writing() -> None:
        for size in [1, 2, 3] * 10:
            await write(others, [size])
            hub.wake()

    await at_once(keep_writing(), *[visit(number) for number in range(8)])


async def test_the_poll_finds_what_no_hint_told_of(watched: WatchedDatabase, others: QueueUnderTest):
    hub = Hub(watched, poll=0.02)
    reader = Reader(hub)
    async with running(hub.run()):
        with hub.reading():
            await following(hub)
            for head in (1, 2, 3):
                await write(others, [1])
                await reader.read_to(head)


@pytest.mark.parametrize("turns_between", range(5))
async def test_it_ends_when_it_is_cancelled_right_after_it_was_woken(watched: WatchedDatabase, turns_between: int):
    hub = Hub(watched, poll=NEVER)
    assert await ends_when_cancelled(hub.run(), hub.wake, turns_between)


# when the log does not reach back


async def prune(others: QueueUnderTest, upto: int) -> None:
    await others.sql("DELETE FROM notifications WHERE seq_last <= $1", upto)


@pytest.fixture
async def pruned(others: QueueUnderTest) -> AsyncIterator[QueueUnderTest]:
    """A queue whose log may be pruned: at the end the head stands alone."""
    yield others
    await others.sql("DELETE FROM notifications")
    await others.sql("UPDATE queue_head SET seq = 0")


@pytest.mark.parametrize("follows", [True, False])
async def test_who_is_behind_what_was_pruned_is_told(hub: Hub, pruned: QueueUnderTest, follows: bool):
    await write(pruned, [2, 2, 2])
    await prune(pruned, 4)
    with hub.reading():
        if follows:
            await following(hub)
        for seq in (0, 2, 3):
            with pytest.raises(LogPruned):
                await hub.after(seq)
        assert [commit.seq_first for commit in await hub.after(4)] == [5]


@pytest.mark.parametrize("follows", [True, False])
async def test_who_is_behind_a_log_that_was_pruned_to_its_end_is_told(hub: Hub, pruned: QueueUnderTest, follows: bool):
    await write(pruned, [2, 2, 2])
    await prune(pruned, 6)
    with hub.reading():
        if follows:
            await following(hub)
        with pytest.raises(LogPruned):
            await hub.after(5)
        waiting = asyncio.create_task(hub.after(6))
        await following(hub)
        await write(pruned, [1])
        hub.wake()
        assert [commit.seq_first for commit in await waiting] == [7]


async def test_what_the_ring_still_has_is_given_though_the_log_was_pruned(hub: Hub, pruned: QueueUnderTest):
    with hub.reading():
        await following(hub)
        await caught_up(hub, await write(pruned, [2, 2, 2]))
        await prune(pruned, 6)
        reader = Reader(hub)
        await reader.read_to(6)


async def test_what_was_pruned_before_the_hub_had_read_it_is_no_silent_hole(hub: Hub, pruned: QueueUnderTest):
    """The hub was late: all hints were lost, or PostgreSQL away for long."""
    with hub.reading():
        await following(hub)
        await caught_up(hub, await write(pruned, [1, 1]))
        await write(pruned, [1, 1, 1])
        await prune(pruned, 4)
        await caught_up(hub, 5)
        for seq in (0, 1, 2, 3):
            with pytest.raises(LogPruned):
                await hub.after(seq)
        assert [commit.seq_first for commit in await hub.after(4)] == [5]


# when it ends, and when PostgreSQL is away


async def test_every_reader_ends_with_the_hub(hub: Hub):
    with hub.reading():
        await following(hub)
        waiting = [asyncio.create_task(hub.after(0)) for _ in range(3)]
        await turns()
        hub.close()
        for task in waiting:
            with pytest.raises(HubClosed):
                await task
        with pytest.raises(HubClosed):
            await hub.after(0)


async def test_readers_stay_where_they_are_while_postgresql_is_away(postgres: str, database_url: str):
    async with WatchedDatabase(database_url) as database:
        hub = Hub(database, poll=0.02)
        others = QueueUnderTest(database, database.lane(), 0)
        with capture_logs() as logs:
            async with running(hub.run()):
                with hub.reading():
                    await following(hub)
                    await write(others, [1, 1])
                    await until(lambda: hub._seq == 2)
                    reader = Reader(hub, seq=2)
                    reading = asyncio.create_task(reader.read_on())
                    async with away(postgres, database_url):
                        asked = len(database.asked)
                        await until(lambda: len(database.asked) >= asked + 3)
                        assert [commit.seq_last for commit in await hub.after(0)] == [1, 2], "the ring is there"
                        assert not reading.done()
                    await write(others, [1])
                    await reading
                    await until(lambda: len(logs) == 2)
        assert [(entry["event"], entry["who"]) for entry in logs] == [
            ("postgres.away", "hub"),
            ("postgres.back", "hub"),
        ]


async def test_who_reads_the_log_is_told_that_postgresql_is_away(postgres: str, database_url: str):
    async with WatchedDatabase(database_url) as database:
        hub = Hub(database)
        async with away(postgres, database_url):
            with pytest.raises(Unavailable):
                await hub.after(0)
