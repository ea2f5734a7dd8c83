"""The log of notifications: every change of a thumbnail, once, in the order of the commits, without a hole."""

import asyncio
import random

import pytest

from tests.support.conditions import at_once
from tests.support.postgres.queue_under_test import DELAYS, Event, events, failure, new_job, picture
from thumbq_server.storage import notification_log, workers
from thumbq_server.storage.transitions.claim import ClaimRequest, claim
from thumbq_server.storage.transitions.complete import complete
from thumbq_server.storage.transitions.enqueue import enqueue
from thumbq_server.storage.transitions.fail import expire, fail
from thumbq_server.storage.transitions.release import release


async def test_an_empty_log_begins_at_nothing(queue):
    epoch, seq = await notification_log.head(queue.database)
    assert (len(epoch), seq) == (8, 0)
    assert await notification_log.oldest(queue.database) is None
    assert await notification_log.after(queue.database, 0, 100) == []


async def test_the_life_of_a_job_in_notifications(queue):
    [job_id] = await queue.enqueued(new_job(7))
    assert await queue.news() == [Event("Pending", 7, job_id, attempt_count=0)]
    (token,) = await queue.claim()
    assert await queue.news() == []
    await queue.extend(token)
    assert await queue.news() == []
    await queue.release(token)
    assert await queue.news() == []
    (token,) = await queue.claim()
    await queue.fail(token)
    due = (await queue.job(job_id)).run_at
    assert await queue.news() == [Event("Failed", 7, job_id, 1, "boom", due)]
    await queue.make_due(job_id)
    await queue.expired(*await queue.claim())
    due = (await queue.job(job_id)).run_at
    stopped = "Lease expired: worker worker-1 stopped responding"
    assert await queue.news() == [Event("Failed", 7, job_id, 2, stopped, due)]
    await queue.make_due(job_id)
    await queue.complete(*await queue.claim())
    assert await queue.news() == [Event("Ready", 7, job_id, 3)]
    await queue.enqueue(new_job(7, force=True))
    assert await queue.news() == [Event("Pending", 7, job_id, attempt_count=0)]
    await queue.fail(failure(*await queue.claim(), retryable=False))
    assert await queue.news() == [Event("Failed", 7, job_id, 1, "boom", None)]


async def test_a_reader_gets_whole_commits_that_reach_beyond_its_cursor(queue):
    await queue.enqueue(new_job(1), new_job(2), new_job(3))
    await queue.enqueue(new_job(4))
    await queue.enqueue(new_job(5), new_job(6))
    spans = [(row.seq_first, row.seq_last) for row in await notification_log.after(queue.database, 0, 100)]
    assert spans == [(1, 3), (4, 4), (5, 6)]
    assert await notification_log.oldest(queue.database) == 1
    for cursor, expected in [(1, spans), (3, spans[1:]), (4, spans[2:]), (5, spans[2:]), (6, []), (9, [])]:
        rows = await notification_log.after(queue.database, cursor, 100)
        assert [(row.seq_first, row.seq_last) for row in rows] == expected
    assert [row.seq_last for row in await notification_log.after(queue.database, 0, 2)] == [3, 4]


async def test_a_test_notification_stands_in_the_same_line(queue):
    await queue.enqueue(new_job(1))
    url = "/models/9/thumbnail/file"
    assert await notification_log.publish_test(queue.database, 9, "Ready", url, None) == 2
    assert await notification_log.publish_test(queue.database, 9, "Failed", None, "just a test") == 3
    assert (await queue.news())[1:] == [
        Event("Ready", 9, 0, test=True, thumbnail_url=url),
        Event("Failed", 9, 0, error_message="just a test", test=True),
    ]
    assert await notification_log.head(queue.database) == (await queue.value("epoch FROM queue_head"), 3)


@pytest.mark.parametrize("status", ["None", "Pending", "Processing", "Ready", "Failed"])
async def test_every_status_of_a_thumbnail_can_be_tested(queue, status):
    await notification_log.publish_test(queue.database, 9, status, None, None)
    assert await queue.news() == [Event(status, 9, 0, test=True)]


async def test_a_commit_is_stamped_by_the_clock_of_the_database(queue):
    [job_id] = await queue.enqueued(new_job(7))
    (row,) = await notification_log.after(queue.database, 0, 10)
    assert row.created_at == (await queue.job(job_id)).created_at


class Writer:
    """One of several that use the queue with all its verbs, counting what must be announced."""

    def __init__(self, number, queue, lane):
        self.models = range(1 + number * 1000, 1000 + number * 1000)
        self.dice = random.Random(number)
        self.worker = queue.worker
        self.lane = lane
        self.announced = []

    async def run(self):
        for start in range(0, 60, 6):
            batch = [new_job(self.models[start + n]) for n in range(6)]
            for answer, job in zip(await enqueue(self.lane, batch), batch, strict=True):
                self.announced.append(("Pending", job.model_id, answer.job_id))
            claimed = await claim(self.lane, ClaimRequest([self.worker] * 8, [30] * 8))
            model_of = {job.token: job.model_id for job in claimed}
            verbs = {token: self.dice.choice(["complete", "fail", "release", "stale"]) for token in model_of}
            await self.report(model_of, verbs)

    async def report(self, model_of, verbs):
        chosen = {verb: [token for token in verbs if verbs[token] == verb] for verb in set(verbs.values())}
        done, failed = chosen.get("complete", []), chosen.get("fail", [])
        await complete(self.lane, [picture(token) for token in done])
        await fail(self.lane, [failure(token) for token in failed], DELAYS, [1.0] * len(failed))
        await release(self.lane, chosen.get("release", []))
        stale = [token._replace(lease_seq=token.lease_seq + 7) for token in chosen.get("stale", [])]
        await complete(self.lane, [picture(token) for token in stale])
        self.announced += [("Ready", model_of[token], token.job_id) for token in done]
        self.announced += [("Failed", model_of[token], token.job_id) for token in failed]


async def test_a_reader_behind_eight_writers_misses_nothing_and_sees_nothing_twice(queue, lanes, no_second_try):
    writers = [Writer(number, queue, lane) for number, lane in enumerate(lanes[1:9])]
    writing = asyncio.create_task(at_once(*[writer.run() for writer in writers]))
    seen, cursor = [], 0
    while not writing.done() or cursor < (await notification_log.head(queue.database))[1]:
        for row in await notification_log.after(queue.database, cursor, 10):
            assert row.seq_first == cursor + 1
            cursor = row.seq_last
            seen += [event[:3] for event in events([row])]
    await writing
    assert sorted(seen) == sorted(event for writer in writers for event in writer.announced)
    for writer in writers:
        of_writer = [event for event in seen if event[1] in writer.models and event[0] == "Pending"]
        assert of_writer == [event for event in writer.announced if event[0] == "Pending"], "in the order of commits"


async def test_the_counter_of_completed_jobs_is_right_after_any_mixture(queue, lanes):
    """What every test asserts at its end, after writers in one another's way."""

    async def meddle(number, lane):
        dice = random.Random(number)
        worker = await workers.register(queue.database, f"worker-{number}")
        for _ in range(15):
            wanted = [new_job(dice.randint(1, 12), dice.randint(1, 2), force=dice.random() < 0.3) for _ in range(4)]
            await enqueue(lane, wanted)
            claimed = await claim(lane, ClaimRequest([worker] * 5, [dice.choice([0, 30])] * 5))
            tokens = [job.token for job in claimed]
            await complete(lane, [picture(token) for token in tokens[:3]])
            failures = [failure(token, retry_delay=0) for token in tokens[2:4]]
            await fail(lane, failures, DELAYS, [1.0] * len(failures))
            await release(lane, tokens[4:])
            await expire(lane, 10, [0.0] * 10, 1.0)

    await at_once(*[meddle(number, lane) for number, lane in enumerate(lanes[:8])])
    assert await queue.value("count(*) FROM job_states WHERE status = 'Completed'") > 0
