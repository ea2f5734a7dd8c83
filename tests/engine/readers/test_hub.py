"""The tail of the log: every reader, however slow, sees every commit once and in order."""

import asyncio
import random

import pytest

from tests.engine.parts import NEVER, WatchedDatabase, ends_when_cancelled, running, turns, until
from tests.engine.readers.reader import Reader, caught_up, content, following, write
from tests.support.conditions import at_once
from tests.support.postgres.queue_under_test import QueueUnderTest
from thumbq_server.engine.readers.hub import Hub
from thumbq_server.storage import notification_log

# reading


async def test_a_reader_waits_for_the_next_commit(hub: Hub, others: QueueUnderTest):
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
async def test_a_reader_goes_on_from_any_position_even_inside_a_commit(hub: Hub, others: QueueUnderTest, seq: int):
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
    monkeypatch.setattr("thumbq_server.engine.readers.hub._PAGE", 3)
    with hub.reading():
        await following(hub)
        await caught_up(hub, await write(others, [1] * 8))
        from_ring = Reader(hub)
        await from_ring.read_to(8)
        assert [len(await hub.after(seq)) for seq in range(8)] == [3, 3, 3, 3, 3, 3, 2, 1]
    assert [len(await hub.after(seq)) for seq in range(8)] == [3, 3, 3, 3, 3, 3, 2, 1]
    assert [commit.seq_last for commit in from_ring.commits] == list(range(1, 9))


# the statements that it costs


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


async def test_the_log_is_not_read_without_readers(hub: Hub, watched: WatchedDatabase, others: QueueUnderTest):
    for _ in range(3):
        await write(others, [1])
        hub.wake()
        await until(lambda: not hub._wake_up.pending)
        await turns()
    assert watched.asked == []
    with hub.reading():
        await following(hub)
        assert len(watched.asked) == 1
    watched.asked.clear()
    hub.wake()
    await until(lambda: not hub._wake_up.pending)
    await turns()
    assert watched.asked == []
    assert not hub._ring


async def test_readers_that_come_and_go_leave_the_ring_to_the_others(hub: Hub, others: QueueUnderTest):
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


async def test_the_poll_finds_changes_without_a_hint(watched: WatchedDatabase, others: QueueUnderTest):
    hub = Hub(watched, poll=0.02)
    reader = Reader(hub)
    async with running(hub.run()):
        with hub.reading():
            await following(hub)
            for head in (1, 2, 3):
                await write(others, [1])
                await reader.read_to(head)


@pytest.mark.parametrize("turns_between", range(5))
async def test_a_cancellation_right_after_a_wake_up_is_not_lost(watched: WatchedDatabase, turns_between: int):
    hub = Hub(watched, poll=NEVER)
    assert await ends_when_cancelled(hub.run(), hub._wake_up.set, turns_between)


async def test_a_signal_wakes_nobody_while_nobody_reads(hub: Hub):
    await until(lambda: not hub._wake_up.pending)
    hub.wake()
    assert not hub._wake_up.pending
