"""A watcher of the queue sees its present state: at once, and whenever it has changed."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from tests.engine.parts import NEVER, WatchedDatabase, away, ends_when_cancelled, running, turns, until
from tests.support.postgres.queue_under_test import QueueUnderTest, new_job
from thumbq_server.domain.records import Snapshot
from thumbq_server.engine.readers import queue_snapshots as queue_snapshots_module
from thumbq_server.engine.readers.queue_snapshots import QueueSnapshots
from thumbq_server.storage.postgres.errors import Unavailable


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_snapshots_module, "_SHORTEST_PAUSE", 0.0)
    monkeypatch.setattr(queue_snapshots_module, "_LARGEST_SHARE", 1e9)


@pytest.fixture
async def watch(watched: WatchedDatabase) -> AsyncIterator[QueueSnapshots]:
    """Snapshots that get no hint unless the test gives one."""
    watch = QueueSnapshots(watched, poll=NEVER)
    async with running(watch.run()):
        yield watch


@asynccontextmanager
async def watching(watch: QueueSnapshots) -> AsyncIterator[Callable[[], Awaitable[Snapshot]]]:
    """A watcher: call it for its next snapshot."""
    snapshots = watch.follow()
    assert isinstance(snapshots, AsyncGenerator)
    yield lambda: asyncio.wait_for(anext(snapshots), 30)
    await snapshots.aclose()


async def look(watch: QueueSnapshots, watched: WatchedDatabase) -> None:
    """Wake the watch, and wait until it has looked if it wants to."""
    watch.wake()
    await until(lambda: not watch._wake_up.pending and not watched.in_flight)
    await turns()


def counters(snapshot: Snapshot) -> tuple[int, ...]:
    """Pending, processing, completed, failed, cancelled."""
    return tuple(snapshot.counters)


async def test_the_present_state_comes_at_once(watch: QueueSnapshots, others: QueueUnderTest):
    token, _ = await others.claimed(new_job(1), new_job(2))
    await others.enqueue(new_job(3))
    await others.job_in("Failed", new_job(4, priority=9))
    async with watching(watch) as following:
        snapshot = await following()
        assert counters(snapshot) == (1, 2, 0, 1, 0)
        assert {(row.model_id, row.worker_id) for row in snapshot.rendering} == {(1, "another"), (2, "another")}
        await others.complete(token)
        watch.wake()
        assert counters(await following()) == (1, 1, 1, 1, 0)


async def test_an_unchanged_snapshot_is_not_sent_again(
    watch: QueueSnapshots, watched: WatchedDatabase, others: QueueUnderTest
):
    await others.claimed(new_job(1))
    async with watching(watch) as following:
        assert counters(await following()) == (0, 1, 0, 0, 0)
        upcoming = asyncio.ensure_future(following())
        for _ in range(3):
            await look(watch, watched)
        assert not upcoming.done()
        await others.enqueue(new_job(2))
        watch.wake()
        assert counters(await upcoming) == (1, 1, 0, 0, 0)


async def test_another_job_under_way_is_a_change_though_the_counters_stay(
    watch: QueueSnapshots, others: QueueUnderTest
):
    (token,) = await others.claimed(new_job(1))
    await others.enqueue(new_job(2))
    async with watching(watch) as following:
        first = await following()
        await others.release(token)
        await others.make_due(token.job_id)
        await others.claim()
        watch.wake()
        second = await following()
        assert counters(first) == counters(second)
        assert [snapshot.rendering[0].model_id for snapshot in (first, second)] == [1, 2]


async def test_a_slow_watcher_skips_to_the_present(
    watch: QueueSnapshots, watched: WatchedDatabase, others: QueueUnderTest
):
    async with watching(watch) as following:
        assert counters(await following()) == (0, 0, 0, 0, 0)
        for model in range(1, 5):
            await others.enqueue(new_job(model))
            await look(watch, watched)
        assert counters(await following()) == (4, 0, 0, 0, 0)


async def test_watchers_share_one_look(watch: QueueSnapshots, watched: WatchedDatabase, others: QueueUnderTest):
    async with AsyncExitStack() as stack:
        watchers = [await stack.enter_async_context(watching(watch)) for _ in range(20)]
        for following in watchers:
            await following()
        await look(watch, watched)
        watched.asked.clear()
        await others.enqueue(new_job(1))
        watch.wake()
        seen = [await following() for following in watchers]
        assert len(watched.asked) == 2, "the counters, and what is under way"
        assert all(snapshot is seen[0] for snapshot in seen)


async def test_no_snapshot_is_taken_without_watchers(watch: QueueSnapshots, watched: WatchedDatabase):
    for _ in range(3):
        await look(watch, watched)
    assert watched.asked == []
    async with watching(watch) as following:
        await following()
    asked = len(watched.asked)
    await look(watch, watched)
    assert len(watched.asked) == asked


async def test_a_watcher_that_comes_after_a_while_without_any_sees_nothing_old(
    watch: QueueSnapshots, others: QueueUnderTest
):
    async with watching(watch) as following:
        assert counters(await following()) == (0, 0, 0, 0, 0)
    await others.enqueue(new_job(1))
    async with watching(watch) as following:
        assert counters(await following()) == (1, 0, 0, 0, 0)


async def test_a_look_that_ends_after_the_last_watcher_left_is_not_kept(
    watch: QueueSnapshots, watched: WatchedDatabase, others: QueueUnderTest
):
    with ExitStack() as holding:
        async with watching(watch) as following:
            await following()
            await look(watch, watched)
            await others.enqueue(new_job(1))
            asked = len(watched.asked)
            holding.enter_context(watched.held())
            watch.wake()
            await until(lambda: len(watched.asked) == asked + 1)
    await until(lambda: watched.answered == asked + 2)
    await turns()
    await others.enqueue(new_job(2))
    async with watching(watch) as following:
        assert counters(await following()) == (2, 0, 0, 0, 0)


async def test_the_poll_finds_changes_without_a_hint(watched: WatchedDatabase, others: QueueUnderTest):
    watch = QueueSnapshots(watched, poll=0.02)
    async with running(watch.run()), watching(watch) as following:
        await following()
        await others.enqueue(new_job(1))
        assert counters(await following()) == (1, 0, 0, 0, 0)


async def test_a_busy_queue_is_looked_at_no_more_often_than_it_may(
    monkeypatch: pytest.MonkeyPatch, watch: QueueSnapshots, watched: WatchedDatabase
):
    """With a pause that never ends, one look is all there is."""
    monkeypatch.setattr(queue_snapshots_module, "_SHORTEST_PAUSE", NEVER)
    async with watching(watch) as following:
        await following()
        for _ in range(10):
            watch.wake()
            await turns()
        assert len(watched.asked) == 2


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The clock that measures the looks, in the hands of the test; they may take a tenth of the time."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(queue_snapshots_module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(queue_snapshots_module, "_LARGEST_SHARE", 0.1)
    return clock


async def test_a_look_that_failed_late_keeps_no_watcher_waiting(
    monkeypatch: pytest.MonkeyPatch, watched: WatchedDatabase, clock: SimpleNamespace
):
    """A database that is frozen is given up after half a minute."""
    fetch = watched.fetch

    async def frozen(*_asked: object) -> Any:
        clock.now += 34
        monkeypatch.setattr(watched, "fetch", fetch)
        raise Unavailable("no answer")

    monkeypatch.setattr(watched, "fetch", frozen)
    watch = QueueSnapshots(watched, poll=0.02)
    async with running(watch.run()), watching(watch) as following:
        assert counters(await following()) == (0, 0, 0, 0, 0)


async def test_however_long_a_look_takes_the_pause_after_it_has_a_limit(
    monkeypatch: pytest.MonkeyPatch, watched: WatchedDatabase, others: QueueUnderTest, clock: SimpleNamespace
):
    fetch = watched.fetch

    async def slowly(*asked: Any) -> Any:
        clock.now += 30
        return await fetch(*asked)

    monkeypatch.setattr(watched, "fetch", slowly)
    monkeypatch.setattr(queue_snapshots_module, "_LONGEST_PAUSE", 0.01)
    watch = QueueSnapshots(watched, poll=0.02)
    async with running(watch.run()), watching(watch) as following:
        await following()
        await others.enqueue(new_job(1))
        assert counters(await following()) == (1, 0, 0, 0, 0)


async def test_a_watcher_that_comes_after_the_last_one_left_ends_one_pause(
    monkeypatch: pytest.MonkeyPatch, watch: QueueSnapshots, watched: WatchedDatabase
):
    """After the first look, every pause is for ever unless it is ended."""
    monkeypatch.setattr(queue_snapshots_module, "_LARGEST_SHARE", 1e-9)
    monkeypatch.setattr(queue_snapshots_module, "_LONGEST_PAUSE", NEVER)
    for _ in range(2):
        async with watching(watch) as following:
            assert counters(await following()) == (0, 0, 0, 0, 0)
    assert len(watched.asked) == 4
    async with watching(watch) as following:
        third = asyncio.ensure_future(following())
        await turns()
        assert len(watched.asked) == 4, "those that come and go all the time have to wait"
        third.cancel()
        await asyncio.wait([third])


async def test_every_watcher_ends_with_it(watch: QueueSnapshots):
    async with watching(watch) as following:
        await following()
        upcoming = asyncio.ensure_future(following())
        await turns()
        watch.close()
        with pytest.raises(StopAsyncIteration):
            await upcoming
    assert [snapshot async for snapshot in watch.follow()] == []


async def test_watchers_stay_while_postgresql_is_away(postgres: str, database_url: str):
    async with WatchedDatabase(database_url) as database:
        watch = QueueSnapshots(database, poll=0.02)
        others = QueueUnderTest(database, database.lane(), 0)
        async with running(watch.run()), watching(watch) as following:
            await following()
            upcoming = asyncio.ensure_future(following())
            async with away(postgres, database_url):
                asked = len(database.asked)
                await until(lambda: len(database.asked) >= asked + 3, seconds=90)
                assert not upcoming.done()
            await others.enqueue(new_job(1))
            assert counters(await upcoming) == (1, 0, 0, 0, 0)


@pytest.mark.parametrize("turns_between", range(5))
async def test_a_cancellation_right_after_a_wake_up_is_not_lost(watched: WatchedDatabase, turns_between: int):
    watch = QueueSnapshots(watched, poll=NEVER)
    assert await ends_when_cancelled(watch.run(), watch._wake_up.set, turns_between)


async def test_a_signal_wakes_nobody_while_nobody_watches(watched: WatchedDatabase):
    watch = QueueSnapshots(watched)
    watch.wake()
    assert not watch._wake_up.pending
