"""One clock: leases that ran out are ended with no traffic at all, and nothing stops the clock."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.engine.parts import NEVER, POLICY, WatchedDatabase, WatchedLane, away, running, until
from tests.support.conditions import until as until_stored
from tests.support.postgres.queue_under_test import Event, QueueUnderTest, new_job
from thumbq_server.engine.upkeep import duties, janitor
from thumbq_server.engine.upkeep.duties import (
    WORTH_A_VACUUM,
    ExpireLeases,
    PruneLog,
    VacuumLiveTables,
)
from thumbq_server.engine.upkeep.janitor import Duty, Janitor
from thumbq_server.metrics.observer import Observer
from thumbq_server.storage import notification_log
from thumbq_server.storage.postgres.errors import Unavailable

OFTEN = 0.01


@pytest.fixture
async def lane(watched: WatchedDatabase) -> WatchedLane:
    return watched.lane()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The janitor's clock, in the hands of the test."""
    clock = SimpleNamespace(now=1000.0)
    for module in (janitor, duties):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def expiring(lane: WatchedLane, told: list[float]) -> Duty:
    return Duty("expire leases", OFTEN, ExpireLeases(lane, POLICY, told.append, grace=0, observer=Observer()))


async def test_leases_that_ran_out_are_ended_with_no_traffic_at_all_and_announced(
    lane: WatchedLane, others: QueueUnderTest
):
    told: list[float] = []
    kept, lost = await others.claimed(new_job(1), new_job(2))
    await others.news()
    async with running(Janitor([expiring(lane, told)]).run()):
        await others.let_run_out(lost)
        await until(lambda: told)
    job = await others.job(lost.job_id)
    assert (job.status, job.attempt_count) == ("Pending", 1)
    message = "Lease expired: worker another stopped responding"
    assert await others.news() == [Event("Failed", 2, lost.job_id, 1, message, job.run_at)]
    assert 0.8 * POLICY.base <= told[0] <= 1.2 * POLICY.base, "the dispatcher learns when the retry is due"
    assert await others.status(kept.job_id) == "Processing"


async def test_the_last_attempt_ends_as_a_dead_letter_and_wakes_no_dispatcher(
    lane: WatchedLane, others: QueueUnderTest
):
    told: list[float] = []
    (token,) = await others.claimed(new_job(7, max_attempts=1))
    await others.let_run_out(token)

    async def failed() -> bool:
        return await others.status(token.job_id) == "Failed"

    async with running(Janitor([expiring(lane, told)]).run()):
        await until_stored(failed)
    assert told == []


async def test_more_than_one_batch_is_ended_in_one_go(
    monkeypatch: pytest.MonkeyPatch, lane: WatchedLane, others: QueueUnderTest
):
    monkeypatch.setattr(duties, "EXPIRE_LIMIT", 10)
    await others.let_run_out(*await others.claimed(*[new_job(model) for model in range(1, 26)]))
    expire = ExpireLeases(lane, POLICY, lambda _: None, grace=0, observer=Observer())
    assert await expire() == 25
    assert lane.begun == 3 * 2, "each batch is found, and then ended"
    assert await expire() == 0


async def test_two_janitors_at_once_end_each_lease_once(watched: WatchedDatabase, others: QueueUnderTest):
    tokens = await others.claimed(*[new_job(model) for model in range(1, 201)])
    await others.news()
    await others.let_run_out(*tokens)
    duties_of_servers = [
        ExpireLeases(watched.lane(), POLICY, lambda _: None, grace=0, observer=Observer()) for _ in range(4)
    ]
    counts = await asyncio.gather(*[expire() for expire in duties_of_servers])
    assert sum(counts) == 200
    assert sorted(event.job_id for event in await others.news()) == [token.job_id for token in tokens]
    assert await others.value("count(*) FROM ready WHERE attempt = 1") == 200


async def test_workers_have_time_to_be_heard_before_anything_is_taken_from_them(
    clock: SimpleNamespace, lane: WatchedLane, others: QueueUnderTest
):
    (token,) = await others.claimed(new_job(7))
    await others.let_run_out(token)
    expire = ExpireLeases(lane, POLICY, lambda _: None, grace=30, observer=Observer())
    clock.now += 29
    assert await expire() == 0
    clock.now += 2
    lane.losses = 1
    await others.extend(token)
    with pytest.raises(Unavailable):
        await expire()
    await others.let_run_out(token)
    clock.now += 29
    assert await expire() == 0, "nor after PostgreSQL was away"
    clock.now += 2
    assert await expire() == 1


async def test_a_duty_that_fails_does_not_stop_the_clock():
    done: list[str] = []

    async def broken() -> int:
        done.append("broken")
        raise ZeroDivisionError

    async def sound() -> int:
        done.append("sound")
        return 1

    with capture_logs() as logs:
        async with running(Janitor([Duty("broken", OFTEN, broken), Duty("sound", OFTEN, sound)]).run()):
            await until(lambda: done.count("broken") >= 3 and done.count("sound") >= 3)
    assert done[:2] == ["broken", "sound"]
    assert {(entry["event"], entry["duty"]) for entry in logs} == {
        ("janitor.failed", "broken"),
        ("janitor.done", "sound"),
    }


@pytest.mark.parametrize("place", [0, 1], ids=["before", "after"])
async def test_a_duty_that_hangs_keeps_none_waiting_that_is_alone(
    place: int, lane: WatchedLane, others: QueueUnderTest
):
    async def hang() -> int:
        await asyncio.Event().wait()
        return 0

    told: list[float] = []
    expiry = expiring(lane, told)
    expiry.alone = True
    duties_of_server = [expiry]
    duties_of_server.insert(place, Duty("hang", OFTEN, hang))
    (token,) = await others.claimed(new_job(1))
    async with running(Janitor(duties_of_server).run()):
        await until(lambda: lane.committed >= 2)
        await others.let_run_out(token)
        await until(lambda: told)


async def nothing() -> int:
    return 0


async def test_an_outage_is_said_once_and_does_not_stop_the_clock(postgres: str, database_url: str):
    async with WatchedDatabase(database_url) as database:
        lane = database.lane()
        with capture_logs() as logs:
            expiry = expiring(lane, [])
            async with running(Janitor([expiry, Duty("idle", OFTEN, nothing)]).run()):
                await until(lambda: lane.committed >= 2)
                async with away(postgres, database_url):
                    tried = lane.begun
                    await until(lambda: lane.begun >= tried + 3)
                back = lane.committed
                await until(lambda: lane.committed >= back + 2)
        assert [(entry["event"], entry["who"]) for entry in logs] == [
            ("postgres.away", expiry.name),
            ("postgres.back", expiry.name),
        ]


async def test_what_an_outage_kept_from_its_work_is_done_soon_after_it():
    tried: list[str] = []

    async def write() -> int:
        tried.append("write")
        if len(tried) == 1:
            raise Unavailable("away")
        return 0

    async with running(Janitor([Duty("write", NEVER, write, again=OFTEN)]).run()):
        await until(lambda: len(tried) == 2)


async def test_each_duty_is_done_as_often_as_it_is_due(clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch):
    done: list[tuple[str, float]] = []

    def duty(name: str, every: float) -> Duty:
        async def run() -> int:
            done.append((name, clock.now))
            return 0

        return Duty(name, every, run)

    async def sleep(seconds: float) -> None:
        clock.now += seconds
        if clock.now >= 1006:
            await asyncio.Event().wait()

    monkeypatch.setattr(janitor, "asyncio", SimpleNamespace(sleep=sleep, gather=asyncio.gather))
    async with running(Janitor([duty("a", 2), duty("b", 3)]).run()):
        await until(lambda: clock.now >= 1006)
    assert done == [("a", 1000), ("b", 1000), ("a", 1002), ("b", 1003), ("a", 1004)]


async def test_old_notifications_are_forgotten_in_pieces(
    monkeypatch: pytest.MonkeyPatch, watched: WatchedDatabase, others: QueueUnderTest
):
    monkeypatch.setattr(duties, "PRUNE_LIMIT", 3)
    for model_id in range(1, 9):
        await others.enqueue(new_job(model_id))
    await others.sql("UPDATE notifications SET created_at = now() - interval '1 hour' WHERE seq_last <= 7")
    prune = PruneLog(watched, keep=1800)
    try:
        assert (await prune(), len(watched.asked)) == (7, 3)
        assert await notification_log.oldest(others.database) == 8
        assert await prune() == 0
    finally:
        await empty_the_log(others)


async def test_much_that_is_to_be_forgotten_does_not_keep_the_other_duties_waiting(
    monkeypatch: pytest.MonkeyPatch, watched: WatchedDatabase, others: QueueUnderTest, clock: SimpleNamespace
):
    monkeypatch.setattr(duties, "PRUNE_LIMIT", 1)
    for model_id in range(1, 6):
        await others.enqueue(new_job(model_id))
    await others.sql("UPDATE notifications SET created_at = now() - interval '1 hour'")
    fetch = watched.fetch

    async def slowly(sql: str, *arguments: object) -> Any:
        clock.now += 0.3
        return await fetch(sql, *arguments)

    monkeypatch.setattr(watched, "fetch", slowly)
    prune = PruneLog(watched, keep=1800)
    try:
        assert [await prune() for _ in range(4)] == [2, 2, 1, 0]
    finally:
        await empty_the_log(others)


async def empty_the_log(others: QueueUnderTest) -> None:
    """So that it is whole again when the test is over."""
    await others.sql("DELETE FROM notifications")
    await others.sql("UPDATE queue_head SET seq = 0")


async def test_the_live_tables_are_vacuumed_only_when_many_jobs_were_claimed(
    watched: WatchedDatabase, monkeypatch: pytest.MonkeyPatch
):
    claims, executed, run = 0, [], watched.run

    async def heard(work: Any) -> Any:
        async def logged(connection: Any) -> Any:
            with connection.query_logger(lambda query: executed.append(query.query)):
                return await work(connection)

        return await run(logged)

    monkeypatch.setattr(watched, "run", heard)
    vacuum = VacuumLiveTables(watched, lambda: claims)
    await vacuum()
    assert executed == []
    claims = WORTH_A_VACUUM - 1
    await vacuum()
    assert executed == []
    claims += 1
    assert await vacuum() == 0
    (statement,) = executed
    assert statement.startswith("VACUUM")
    await vacuum()
    assert len(executed) == 1
    claims += WORTH_A_VACUUM
    await vacuum()
    assert len(executed) == 2
