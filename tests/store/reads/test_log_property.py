"""Many writers, each in the others' way, and readers at their heels: the log tells every transition once, in order."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.conditions import at_once
from tests.support.postgres.queue_under_test import DELAYS, Event, empty, events, failure, new_job, picture
from thumbq_server.domain.job import CancelVerdict, EnqueueOutcome, RetryVerdict, Token, Verdict
from thumbq_server.engine.readers.hub import Hub
from thumbq_server.storage import notification_log
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.lane import Lane
from thumbq_server.storage.transitions.cancel import cancel
from thumbq_server.storage.transitions.claim import ClaimRequest, claim
from thumbq_server.storage.transitions.complete import complete
from thumbq_server.storage.transitions.enqueue import enqueue
from thumbq_server.storage.transitions.fail import expire, fail
from thumbq_server.storage.transitions.release import release
from thumbq_server.storage.transitions.retry import retry

WRITERS = 8
MODELS = 12

some_models = st.lists(st.integers(0, MODELS - 1), min_size=1, max_size=MODELS, unique=True)
steps = st.one_of(
    st.tuples(st.just("enqueue"), some_models),
    st.tuples(st.just("claim"), st.integers(1, 4)),
    st.tuples(st.just("claim_briefly"), st.integers(1, 4)),
    st.tuples(st.just("complete"), st.integers(1, 3)),
    st.tuples(st.sampled_from(["fail", "give_up", "release"]), st.integers(1, 3)),
    st.tuples(st.just("expire"), st.integers(1, 5)),
    st.tuples(st.sampled_from(["cancel", "retry"]), some_models),
)
plans = st.lists(st.lists(steps, min_size=4, max_size=12), min_size=WRITERS, max_size=WRITERS)


class Ledger:
    """What all writers know together, and what they were told was done."""

    def __init__(self, models: range) -> None:
        self.models = models
        self.job_of: dict[int, int] = {}
        # every lease that was ever granted: reports of old ones are part of the play
        self.tokens: list[Token] = []
        self.began: Counter[int] = Counter()
        self.ended: Counter[int] = Counter()


class Writer:
    """One of several connections; it reports also what others have claimed, and what was reported before."""

    def __init__(self, ledger: Ledger, lane: Lane, worker: int, number: int) -> None:
        self.ledger = ledger
        self.lane = lane
        self.worker = worker
        self.dice = random.Random(number)

    async def run(self, plan: list[tuple[str, object]]) -> None:
        for step, argument in plan:
            await getattr(self, step)(argument)

    async def enqueue(self, picked: list[int]) -> None:
        models = [self.ledger.models[index] for index in picked]
        answers = await enqueue(self.lane, [new_job(model, max_attempts=2) for model in models])
        for model, answer in zip(models, answers, strict=True):
            self.ledger.job_of[model] = answer.job_id
            self.ledger.began[answer.job_id] += answer.outcome is not EnqueueOutcome.EXISTING

    async def claim(self, number: int, seconds: int = 3000) -> None:
        claimed = await claim(self.lane, ClaimRequest([self.worker] * number, [seconds] * number))
        self.ledger.tokens += [job.token for job in claimed]

    async def claim_briefly(self, number: int) -> None:
        await self.claim(number, seconds=0)

    async def complete(self, number: int) -> None:
        tokens = self.some_tokens(number)
        verdicts = await complete(self.lane, [picture(token) for token in tokens])
        self.count(tokens, [verdict for verdict, _ in verdicts])

    async def fail(self, number: int, *, retryable: bool = True) -> None:
        tokens = self.some_tokens(number)
        items = [failure(token, retryable=retryable, retry_delay=0) for token in tokens]
        answers = await fail(self.lane, items, DELAYS, [1.0] * len(items))
        self.count(tokens, [verdict for verdict, _, _ in answers])

    async def give_up(self, number: int) -> None:
        await self.fail(number, retryable=False)

    async def release(self, number: int) -> None:
        await release(self.lane, self.some_tokens(number))

    async def expire(self, limit: int) -> None:
        for row in await expire(self.lane, limit, [0.0] * 10, 1.0):
            self.ledger.ended[row.job_id] += 1

    async def cancel(self, picked: list[int]) -> None:
        for cancelled in await cancel(self.lane, self.some_jobs(picked)):
            self.ledger.ended[cancelled.job_id] += cancelled.verdict is CancelVerdict.CANCELLED

    async def retry(self, picked: list[int]) -> None:
        for job_id, verdict in await retry(self.lane, self.some_jobs(picked)):
            self.ledger.began[job_id] += verdict is RetryVerdict.RETRIED

    def some_jobs(self, picked: list[int]) -> list[int]:
        return [self.ledger.job_of.get(self.ledger.models[index], 0) for index in picked]

    def some_tokens(self, number: int) -> list[Token]:
        recent = self.ledger.tokens[-2 * WRITERS :]
        return self.dice.sample(recent, min(number, len(recent)))

    def count(self, tokens: list[Token], verdicts: list[Verdict]) -> None:
        for token, verdict in zip(tokens, verdicts, strict=True):
            self.ledger.ended[token.job_id] += verdict is Verdict.OK


async def read_log(database: Database, page: int, done: Callable[[], bool]) -> list[Event]:
    """Follow the log until the writers are done and nothing is left."""
    seen: list[Event] = []
    seq = 0
    while not done() or seq < (await notification_log.head(database))[1]:
        for row in await notification_log.after(database, seq, page):
            assert row.seq_first == seq + 1
            seq = row.seq_last
            seen += events([row])
    return seen


async def read_hub(hub: Hub, done: Callable[[], bool]) -> list[Event]:
    """Follow the hub until the writers are done and nothing is left."""
    seen: list[Event] = []
    seq = 0
    with hub.reading():
        while not done() or seq < (await notification_log.head(hub._database))[1]:
            try:
                commits = await asyncio.wait_for(hub.after(seq), 0.05)
            except TimeoutError:
                continue
            for commit in commits:
                assert commit.seq_first == seq + 1
                seq = commit.seq_last
                seen += events([commit.row])
    return seen


@settings(
    max_examples=40,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(plans=plans)
async def test_every_accepted_transition_is_told_once_in_order_and_without_a_hole(queue, lanes, no_second_try, plans):
    await empty(queue.database, keep_workers=True)
    ledger = Ledger(range(1, 1 + MODELS))
    hub = Hub(queue.database, ring_size=5, poll=0.005)
    tailing = asyncio.create_task(hub.run())
    writing = asyncio.create_task(
        at_once(
            *[
                Writer(ledger, lane, queue.worker, number).run(plan)
                for number, (lane, plan) in enumerate(zip(lanes[1:], plans, strict=False))
            ]
        )
    )
    try:
        told, *others = await at_once(
            read_log(queue.database, 3, writing.done),
            read_log(queue.database, 1, writing.done),
            read_hub(hub, writing.done),
            read_hub(hub, writing.done),
        )
    finally:
        await writing
        tailing.cancel()
    assert others == [told] * 3
    assert Counter(event.job_id for event in told if event.status == "Pending") == +ledger.began
    assert Counter(event.job_id for event in told if event.status != "Pending") == +ledger.ended
