"""The verbs of the queue, each in batches: what the handlers call."""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable, Sequence

from thumbq_server.domain.job import (
    Cancellation,
    ClaimedJob,
    Completion,
    Enqueued,
    EnqueueOutcome,
    Extension,
    Failure,
    NewJob,
    Reported,
    Retrial,
    Token,
    Verdict,
)
from thumbq_server.domain.retry import RetryPolicy, delays, jitter
from thumbq_server.engine.batcher import Batcher
from thumbq_server.engine.dispatcher import Claimant, Dispatcher
from thumbq_server.storage import workers
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.errors import Unavailable
from thumbq_server.storage.transitions.cancel import cancel
from thumbq_server.storage.transitions.complete import complete
from thumbq_server.storage.transitions.enqueue import enqueue_and_claim
from thumbq_server.storage.transitions.extend import extend
from thumbq_server.storage.transitions.fail import fail
from thumbq_server.storage.transitions.release import release
from thumbq_server.storage.transitions.retry import retry

KNOWN_WORKERS = 10_000


class Queue:
    """One server's way into the queue. Every verb answers after its commit, or raises Unavailable."""

    def __init__(
        self,
        database: Database,
        *,
        policy: RetryPolicy,
        unary_lease_seconds: int,
        claimed: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._database = database
        self._policy = policy
        self._delays = delays(policy)
        self._unary_lease_seconds = unary_lease_seconds
        # two, so that PostgreSQL has one batch at hand while the other is read and answered here
        self._enqueue_lanes = [database.lane(), database.lane()]
        self._report_lane = database.lane()
        self._extend_lane = database.lane()
        self._enqueue = Batcher(self._run_enqueue, at_once=len(self._enqueue_lanes))
        self._complete = Batcher(self._run_complete)
        self._fail = Batcher(self._run_fail)
        self._release = Batcher(self._run_release)
        self._extend = Batcher(self._run_extend)
        self._background: set[asyncio.Task[None]] = set()
        self._known_workers: OrderedDict[str, int] = OrderedDict()
        self.dispatcher = Dispatcher(database.lane(), self.release_soon, claimed=claimed)

    async def enqueue(self, new_jobs: Sequence[NewJob]) -> Sequence[Enqueued]:
        """Create jobs, or find them."""
        return await self._enqueue.submit(new_jobs)

    async def complete(self, items: Sequence[Completion]) -> Sequence[Reported]:
        """End attempts with a picture: verdicts and model ids."""
        return await self._complete.submit(items)

    async def fail(self, items: Sequence[Failure]) -> Sequence[Reported]:
        """End attempts without one: verdicts and model ids."""
        return await self._fail.submit(items)

    async def release(self, tokens: Sequence[Token]) -> Sequence[Verdict]:
        """Give jobs back unspent."""
        return await self._release.submit(tokens)

    def release_soon(self, tokens: Sequence[Token]) -> None:
        """Give jobs back, without waiting. If PostgreSQL is away their leases run out instead."""
        task = asyncio.create_task(self._release_quietly(tokens))
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def extend(self, items: Sequence[tuple[Token, float]]) -> Sequence[Extension]:
        """Let leases run for so many seconds from now: verdicts and their new ends."""
        return await self._extend.submit(items)

    async def cancel(self, job_ids: Sequence[int]) -> Sequence[Cancellation]:
        """End those that are Pending or Processing."""
        return await cancel(self._extend_lane, job_ids)

    async def retry(self, job_ids: Sequence[int]) -> Sequence[Retrial]:
        """Start ended jobs again."""
        done = await retry(self._extend_lane, job_ids)
        self.dispatcher.wake()
        return done

    async def worker(self, worker_id: str) -> int:
        """The number of a worker of unary calls."""
        number = self._known_workers.get(worker_id)
        if number is None:
            number = await workers.register(self._database, worker_id)
            self._known_workers[worker_id] = number
            if len(self._known_workers) > KNOWN_WORKERS:
                self._known_workers.popitem(last=False)
        return number

    async def dequeue(self, worker_id: str, max_jobs: int, wait: float) -> Sequence[ClaimedJob]:
        """Claim up to `max_jobs`; when nothing is due, wait so many seconds for the first."""
        answer: asyncio.Future[Sequence[ClaimedJob]] = asyncio.get_running_loop().create_future()

        def deliver(claimed: Sequence[ClaimedJob]) -> None:
            if answer.done():
                self.release_soon([job.token for job in claimed])
            elif claimed or not wait:
                answer.set_result(claimed)
                self.dispatcher.remove(claimant)

        def unavailable(error: Unavailable) -> None:
            if not answer.done():
                answer.set_exception(error)

        claimant = Claimant(await self.worker(worker_id), self._unary_lease_seconds, deliver, unavailable)
        self.dispatcher.add_credits(claimant, max_jobs, fresh_look=True)
        try:
            # a claim that hangs is ended by the statement timeout; with no wait asked for, that is the only limit
            async with asyncio.timeout(wait or None):
                return await asyncio.shield(answer)
        except TimeoutError:
            return answer.result() if answer.done() else []
        except asyncio.CancelledError:
            if answer.done() and not answer.exception():
                self.release_soon([job.token for job in answer.result()])
            raise
        finally:
            self.dispatcher.remove(claimant)
            answer.cancel()

    async def drained(self) -> None:
        """Wait until everything under way is committed (shutdown)."""
        for batcher in (self._enqueue, self._complete, self._fail, self._extend):
            await batcher.drained()
        while self._background:
            await asyncio.wait(self._background)
        await self._release.drained()

    async def _release_quietly(self, tokens: Sequence[Token]) -> None:
        with contextlib.suppress(Unavailable):
            await self._release.submit(tokens)

    async def _run_enqueue(self, items: Sequence[NewJob]) -> Sequence[Enqueued]:
        offer = self.dispatcher.offer(len(items))
        lane = self._enqueue_lanes.pop()
        try:
            answers, claimed = await enqueue_and_claim(lane, items, offer.takers)
        except BaseException:
            self.dispatcher.withdraw(offer)
            raise
        finally:
            self._enqueue_lanes.append(lane)
        self.dispatcher.accept(offer, claimed)
        if sum(answer.outcome is not EnqueueOutcome.EXISTING for answer in answers) > len(claimed):
            self.dispatcher.wake()
        for delay in {item.delay for item in items if item.delay}:
            self.dispatcher.wake_in(delay)
        return answers

    async def _run_complete(self, items: Sequence[Completion]) -> Sequence[Reported]:
        return await complete(self._report_lane, items)

    async def _run_fail(self, items: Sequence[Failure]) -> Sequence[Reported]:
        jitters = [jitter(self._policy) for _ in items]
        answers = await fail(self._report_lane, items, self._delays, jitters)
        for due_in in {due_in for _, _, due_in in answers if due_in is not None}:
            self.dispatcher.wake_in(due_in)
        return [Reported(verdict, model_id) for verdict, model_id, _ in answers]

    async def _run_release(self, tokens: Sequence[Token]) -> Sequence[Verdict]:
        verdicts = await release(self._report_lane, tokens)
        self.dispatcher.wake()
        return verdicts

    async def _run_extend(self, items: Sequence[tuple[Token, float]]) -> Sequence[Extension]:
        return await extend(self._extend_lane, items)
