"""Progress: a row belongs to a lease, and goes with it."""

import asyncio

from tests.support.postgres.queue_under_test import new_job
from thumbq_server.domain.progress import Progress
from thumbq_server.storage import progress


async def shown(database, token):
    found = await progress.read(database, *token)
    return found and (found.fraction, found.message)


async def test_the_newest_progress_of_a_lease_is_shown(queue, database):
    await queue.enqueue(new_job(7), new_job(8))
    first, second = await queue.claim(2)
    await progress.write(
        database, database.history.version, [Progress(first, 0.1, "reading"), Progress(second, 0.0, "")]
    )
    await progress.write(database, database.history.version, [Progress(first, 1.0, "saving")])
    assert await shown(database, first) == (1.0, "saving")
    assert await shown(database, second) == (0.0, "")


async def test_a_stale_lease_tells_nothing(queue, database):
    await queue.enqueue(new_job(7))
    (stale,) = await queue.claim()
    await progress.write(database, database.history.version, [Progress(stale, 0.9, "stale")])
    await queue.release(stale)
    (token,) = await queue.claim()
    assert await shown(database, token) is None
    await progress.write(database, database.history.version, [Progress(stale, 0.9, "stale")])
    assert await shown(database, token) is None
    await progress.write(database, database.history.version, [Progress(token, 0.2, "new")])
    await progress.write(database, database.history.version, [Progress(stale, 0.9, "stale")])
    assert await shown(database, token) == (0.2, "new")


async def test_a_row_is_forgotten_when_its_lease_is_gone(queue, database):
    await queue.enqueue(new_job(7), new_job(8))
    ended, running = await queue.claim(2)
    await progress.write(database, database.history.version, [Progress(ended, 0.5, ""), Progress(running, 0.5, "")])
    assert await progress.prune(database, 10) == 0
    await queue.complete(ended)
    assert await progress.prune(database, 10) == 1
    assert await shown(database, ended) is None
    assert await shown(database, running) == (0.5, "")


async def test_servers_that_write_the_same_jobs_at_once_do_not_lock_each_other_out(queue, database, no_second_try):
    await queue.enqueue(*(new_job(model_id) for model_id in range(1, 51)))
    tokens = await queue.claim(50)
    told = [Progress(token, 0.5, "") for token in tokens]
    for _ in range(10):
        await asyncio.gather(
            *(
                progress.write(database, database.history.version, order)
                for order in (told, told[::-1])
                for _ in range(2)
            )
        )
    assert await shown(database, tokens[0]) == (0.5, "")
