"""Jobs of one model that end at the same moment, on different servers: the newest request decides, exactly."""

import asyncpg
import pytest

from tests.support.conditions import locked, until_blocked
from tests.support.postgres.freezing import freezing_host
from tests.support.postgres.queue_under_test import Event, failure, new_job, picture
from thumbq_server.domain.job import CancelVerdict, Verdict
from thumbq_server.storage.postgres.address import parse_address
from thumbq_server.storage.postgres.lane import Lane
from thumbq_server.storage.transitions.cancel import cancel
from thumbq_server.storage.transitions.complete import COMPLETE
from thumbq_server.storage.transitions.forget import forget

OK = Verdict.OK
A, B = 1, 2


async def test_a_contested_job_of_a_batch_does_not_hold_up_the_others(queue):
    a, b, other = await queue.claimed(new_job(7, file=A), new_job(7, file=B), new_job(8))
    await queue.news()
    assert await queue.complete(b, other, a) == [OK] * 3
    assert {(event.model_id, event.job_id) for event in await queue.news()} == {(7, b.job_id), (8, other.job_id)}
    assert await queue.value("job_id FROM thumbnails WHERE model_id = 7") == b.job_id


@pytest.mark.parametrize("verb", ["complete", "fail"])
async def test_an_older_end_that_waits_for_the_head_behind_a_newer_one_is_neither_shown_nor_announced(
    queue, lanes, verb
):
    a, b = await queue.claimed(new_job(7, file=A), new_job(7, file=B))
    await queue.news()
    async with (
        locked(queue.database, "queue_head") as head,
        until_blocked(queue, queue.on(lanes[1]).complete(b)) as newer,
        until_blocked(queue, getattr(queue.on(lanes[2]), verb)(a), count=2) as older,
    ):
        await head.execute("COMMIT")
    assert (await newer, await older) == ([OK], [OK])
    assert await queue.news() == [Event("Ready", 7, b.job_id, 1)]
    assert (await queue.thumbnail(7)).path == picture(b).thumbnail_path


@pytest.mark.parametrize("others", [[], [8]], ids=["alone", "with another job"])
async def test_an_end_that_began_before_its_rival_existed_gives_way_to_it(queue, lanes, others):
    """The completion of A is a statement that sees no other job of the model, and waits for its lease."""
    ended = await queue.claimed(new_job(7, file=A), *map(new_job, others))
    a = ended[0]
    async with (
        locked(queue.database, "leases") as lease,
        until_blocked(queue, queue.on(lanes[1]).complete(*ended)) as older,
    ):
        (b,) = await queue.claimed(new_job(7, file=B))
        # the end of B marks the lease of A, behind the same lock
        async with until_blocked(queue, queue.on(lanes[2]).complete(b), count=2) as newer:
            await lease.execute("COMMIT")
    assert (await older, await newer) == ([OK] * len(ended), [OK])
    shown = [event.job_id for event in await queue.news() if event.status == "Ready" and event.model_id == 7]
    assert shown in ([a.job_id, b.job_id], [b.job_id])
    assert (await queue.thumbnail(7)).path == picture(b).thumbnail_path


async def test_an_older_end_gives_way_to_a_call_that_names_a_former_lease_of_its_job_too(queue, lanes):
    """The completion of A sees no other job of its model, and waits for a lease before its own. Then B fails."""
    (former,) = await queue.claimed(new_job(7, file=A))
    await queue.release(former)
    (other,) = await queue.claimed(new_job(8, priority=9))
    (a,) = await queue.claim()
    async with (
        locked(queue.database, f"leases WHERE job_id = {other.job_id}") as lease,
        until_blocked(queue, queue.on(lanes[1]).complete(other, a)) as older,
    ):
        (b,) = await queue.claimed(new_job(7, file=B))
        assert await queue.fail(b, former) == [OK, Verdict.STALE]
        await lease.execute("COMMIT")
    assert await older == [OK, OK]
    assert await queue.value("job_id FROM thumbnails WHERE model_id = 7") == b.job_id


async def test_a_lease_that_a_rival_has_marked_is_ended_after_a_second_look(queue):
    a, b = await queue.claimed(new_job(7, file=A), new_job(7, file=B))
    await queue.complete(b)
    assert await queue.value("contested FROM leases WHERE job_id = $1", a.job_id) is True
    await queue.news()
    assert await queue.complete(a) == [OK]
    assert await queue.news() == []
    assert await queue.value("end_no FROM attempts WHERE job_id = $1", a.job_id) is None


async def test_a_late_picture_of_an_older_request_is_not_shown_as_the_newer_one_s(queue):
    """The newer request has failed; the older file's picture would be taken for that of the newer file."""
    a, b = await queue.claimed(new_job(7, file=A), new_job(7, file=B))
    await queue.fail(failure(b, retryable=False))
    await queue.news()
    assert await queue.complete(a) == [OK]
    thumbnail = await queue.thumbnail(7)
    assert (thumbnail.status, thumbnail.path) == ("Failed", None)
    assert await queue.news() == []


async def test_a_put_back_lease_is_the_same_lease(queue):
    """A completion that finds its model contested puts the lease back, and a crash right after it changes nothing."""
    a, _ = await queue.claimed(new_job(7, file=A), new_job(7, file=B))
    before = await queue.sql("SELECT * FROM leases WHERE job_id = $1", a.job_id)
    connection = await asyncpg.connect(queue.database.dsn)
    try:
        picture_of_a = ["/a.webp", "{1234}", [512], [256]]
        rows = await connection.fetch(COMPLETE.text, [a.job_id], [a.lease_seq], [1], [1], *picture_of_a, True)
    finally:
        await connection.close()
    assert rows[0]["job_ids"] is None
    after = await queue.sql("SELECT * FROM leases WHERE job_id = $1", a.job_id)
    assert [{**row, "contested": True} for row in before] == [dict(row) for row in after]


@pytest.mark.parametrize("verb", ["complete", "fail", "cancel", "forget"])
async def test_its_statements_are_parsed_before_anything_is_locked(queue, verb):
    """PostgreSQL has no time limit between the two parts of a new statement: a host that froze would keep the locks."""
    a, b = await queue.claimed(new_job(7, file=A), new_job(7, file=B))
    address = parse_address(queue.database.dsn)
    async with freezing_host(queue.database.dsn) as host:
        dsn = f"postgresql://{address.user}@127.0.0.1:{host.port}/{address.database}?sslmode=disable"
        lane = Lane(dsn, statement_timeout=30.0)
        match verb:
            case "cancel":
                [cancelled] = await cancel(lane, [a.job_id])
                assert cancelled.verdict is CancelVerdict.CANCELLED
            case "forget":
                assert (await forget(lane, 7)).job_ids == [a.job_id, b.job_id]
            case _:
                assert await getattr(queue.on(lane), verb)(a) == [OK]
        await lane.close()
    transactions = [sent.split(b"COMMIT;")[0] for sent in host.asked.split(b"BEGIN;")[1:]]
    # The first one looks for a pooler.
    [locking] = [sent for sent in transactions if b"pg_backend_pid" not in sent]
    assert not any(word in locking for word in (b"SELECT", b"INSERT", b"UPDATE"))
