"""The verbs of the queue: what handlers and sessions call."""

import asyncio
import contextlib
from collections import Counter as Tally
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

from thumbq_server.domain.columns import Completions, Report
from thumbq_server.domain.ends import Ends
from thumbq_server.domain.job import (
    MODEL,
    Completion,
    Enqueued,
    EnqueueOutcome,
    Extension,
    Failure,
    NewJob,
    Reported,
    Token,
    Verdict,
)
from thumbq_server.domain.job_events import LivingWorker, NewJobEvent
from thumbq_server.domain.model_versions import NewVersion
from thumbq_server.domain.retry import RetryPolicy, delays, jitter
from thumbq_server.engine import job_lines
from thumbq_server.engine.batcher import Batcher
from thumbq_server.engine.dispatching.dispatcher import CLAIM_LIMIT
from thumbq_server.engine.dispatching.dispatchers import Dispatchers
from thumbq_server.engine.in_flight.callers import JobsInFlight
from thumbq_server.engine.pressure import Pressure
from thumbq_server.engine.progress import RecordProgress
from thumbq_server.engine.traces import Traces
from thumbq_server.engine.unary_claims import UnaryClaims
from thumbq_server.engine.versions import Versions
from thumbq_server.metrics.observer import Observer
from thumbq_server.storage import job_events
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.errors import Unavailable
from thumbq_server.storage.transitions.complete import complete, complete_columns
from thumbq_server.storage.transitions.enqueue import enqueue_and_claim
from thumbq_server.storage.transitions.extend import extend
from thumbq_server.storage.transitions.fail import fail
from thumbq_server.storage.transitions.release import release

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer


class Queue:
    """One server's way into the queue. Every verb answers after its commit, or raises Unavailable.

    The verbs for many jobs at once are Batchers: `enqueue`, `complete` and `fail` (verdicts and model ids),
    `complete_columns` (for each group the leases whose results were not simply taken), `release` (verdicts), `extend`
    (seconds from now; verdicts and the new ends of the leases), `log_event` and `log_line_of_stranger`
    (ids, None for an unknown job). `dequeue` is that of UnaryClaims.
    """

    def __init__(
        self,
        database: Database,
        *,
        policy: RetryPolicy,
        unary_lease_seconds: int,
        on_claimed: Callable[[], None] = lambda: None,
        on_dequeue: Callable[[int], None] = lambda _: None,
        observer: Observer | None = None,
        tracer: "Tracer | None" = None,
        limit: int | None = None,
        most_in_flight: int | None = None,
        ends: Ends | None = None,
    ) -> None:
        """`limit`: the Pending jobs with which the queue is full. `most_in_flight`: the jobs that a caller may have.

        `on_dequeue` gets the session of a worker without a stream that asks for jobs, or tells how far one has come.
        Attempts that end are counted in `ends`.
        """
        self._observer = observer = observer or Observer()
        self.versions = Versions(database)
        self.traces = Traces(database, tracer)
        self.progress = RecordProgress(database, on_dequeue)
        self.pressure = Pressure(database, limit, observer.refused)
        self._database = database
        self._policy = policy
        self._delays = delays(policy)
        self._ends = ends or Ends()
        self.unary_lease_seconds = unary_lease_seconds
        # Two, so that PostgreSQL has a batch to work on while the answers to the other are read here.
        self._enqueue_lanes = [database.lane(), database.lane()]
        self._report_lane = database.lane()
        # The operator uses it too: both seldom have much to do.
        self.extend_lane = database.lane()
        self._background: set[asyncio.Task[None]] = set()
        self.enqueue: Batcher[NewJob, Enqueued] = Batcher(
            self._enqueue, at_once=len(self._enqueue_lanes), observe=partial(observer.batch, "enqueue")
        )
        self.complete: Batcher[Completion, Reported] = Batcher(
            self._complete, observe=partial(observer.batch, "complete")
        )
        self.complete_columns: Batcher[Completions, Sequence[tuple[Token, Verdict]]] = Batcher(
            self._complete_columns, limit=CLAIM_LIMIT, observe=partial(observer.batch, "complete"), weigh=_jobs_in
        )
        self.fail: Batcher[Failure, Reported] = Batcher(self._fail, observe=partial(observer.batch, "fail"))
        self.release: Batcher[Token, Verdict] = Batcher(self._release, observe=partial(observer.batch, "release"))
        self.extend: Batcher[tuple[Token, float], Extension] = Batcher(partial(extend, self.extend_lane))
        self.log_event: Batcher[NewJobEvent, int | None] = Batcher(partial(self._log_event, with_key=True))
        # Of a caller that shows no key, where others need one.
        self.log_line_of_stranger: Batcher[NewJobEvent, int | None] = Batcher(partial(self._log_event, with_key=False))
        self.dispatchers = Dispatchers(database.lane(), database.lane(), self.release_soon, on_claimed, self.traces)
        # Workers that name no kinds take Models, and may get them before they enter the queue.
        self.dispatcher = self.dispatchers.models
        self.in_flight = JobsInFlight(database, most_in_flight)
        self.in_flight.on_room = self.dispatchers.wake
        self.unary_claims = UnaryClaims(
            database, self.dispatchers, self.in_flight, self.release_soon, unary_lease_seconds, on_dequeue
        )
        self.dequeue = self.unary_claims.dequeue
        self.history = database.history
        self.history.on_change(self._forget)

    async def take_in(self, jobs: Sequence[NewJob], versions: Sequence[NewVersion | None] = ()) -> Sequence[Enqueued]:
        """Enqueue jobs, and note the versions that they are of. Raises QueueFull, Unavailable."""
        await self.pressure.admit(jobs)
        return await self.enqueue_admitted(jobs, versions)

    async def enqueue_admitted(
        self, jobs: Sequence[NewJob], versions: Sequence[NewVersion | None]
    ) -> Sequence[Enqueued]:
        """Do as `take_in` for jobs for which the queue has room. Raises Unavailable."""
        await self.versions.write(versions)
        answers = await self.enqueue(jobs)
        await self.versions.write_missing(versions, answers)
        return answers

    async def report(self, report: Report) -> list[tuple[Token, Verdict]]:
        """End attempts in every way. Return the tokens whose results were not simply taken, and why."""
        if not (report.completions or report.failures or report.releases):
            return list(chain(*await self.complete_columns(report.columns)))
        completed, failed, released, in_columns = await asyncio.gather(
            self.complete(report.completions),
            self.fail(report.failures),
            self.release(report.releases),
            self.complete_columns(report.columns),
        )
        verdicts = (*(verdict for verdict, _ in completed), *(verdict for verdict, _ in failed), *released)
        refused = list(chain(*in_columns))
        if verdicts.count(Verdict.OK) == len(verdicts):
            return refused
        pairs = zip(report.tokens(), verdicts, strict=False)
        return [*((token, verdict) for token, verdict in pairs if verdict is not Verdict.OK), *refused]

    def release_soon(self, tokens: Sequence[Token], history: int | None = None) -> None:
        """Give jobs back, without waiting. If PostgreSQL is away their leases run out instead.

        `history`: the version of the history of the tokens, if that may be over. In another one they are others'.
        """
        self._soon(partial(self.release, tokens), history)

    def fail_soon(self, failures: Sequence[Failure]) -> None:
        """Fail attempts, without waiting. If PostgreSQL is away their leases run out instead."""
        self._soon(partial(self.fail, failures))

    def _soon(self, call: Callable[[], Awaitable[object]], history: int | None = None) -> None:
        task = asyncio.create_task(self._quietly(call, self.history.version if history is None else history))
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _quietly(self, call: Callable[[], Awaitable[object]], history: int) -> None:
        with contextlib.suppress(Unavailable):
            self.history.check(history)
            await call()

    def _forget(self) -> None:
        """Drop what belongs to a history that is over: the numbers of workers, and all that waits to be done."""
        self.unary_claims.forget()
        error = Unavailable("the database has another history")
        for verb in (*self._verbs(), self.release):
            verb.refuse_waiting(error)
        self.dispatchers.forget(error)

    async def drained(self) -> None:
        """Wait until everything under way is committed (shutdown)."""
        for verb in self._verbs():
            await verb.drained()
        while self._background:
            await asyncio.wait(self._background)
        await self.release.drained()

    def _verbs(self) -> tuple[Batcher[Any, Any], ...]:
        logs = self.log_event, self.log_line_of_stranger
        reports = self.complete, self.complete_columns, self.fail
        return self.enqueue, *self.versions.verbs, *reports, self.extend, *logs

    async def _enqueue(self, items: Sequence[NewJob]) -> Sequence[Enqueued]:
        self.traces.expect(items)
        reservation = self.dispatcher.reserve(sum(item.kind == MODEL for item in items))
        lane = self._enqueue_lanes.pop()
        try:
            answers, claimed = await enqueue_and_claim(lane, items, reservation.request, are_traces=self.traces.exist)
        except BaseException:
            self.dispatcher.withdraw(reservation)
            raise
        finally:
            self._enqueue_lanes.append(lane)
        job_lines.enqueued(items, answers)
        self.dispatcher.accept(reservation, claimed)
        if sum(answer.outcome is not EnqueueOutcome.EXISTING for answer in answers) > len(claimed):
            self.dispatchers.wake()
        for delay in {item.delay for item in items if item.delay}:
            self.dispatchers.wake_in(delay)
        return answers

    async def _complete(self, items: Sequence[Completion]) -> Sequence[Reported]:
        answers = await complete(self._report_lane, items, self._ends)
        self.in_flight.ended()
        self._observer.results("complete", Tally(answer.verdict for answer in answers))
        job_lines.completed(items, answers)
        return answers

    async def _complete_columns(self, groups: Sequence[Completions]) -> Sequence[Sequence[tuple[Token, Verdict]]]:
        answers = await complete_columns(self._report_lane, groups, self._ends)
        self.in_flight.ended()
        refused = [verdict for answer in answers for _, verdict in answer]
        self._observer.results("complete", {Verdict.OK: _jobs_in(groups) - len(refused), **Tally(refused)})
        job_lines.completed_columns(groups, answers)
        return answers

    async def _fail(self, items: Sequence[Failure]) -> Sequence[Reported]:
        await self.traces.failed(self._report_lane, items)
        jitters = [jitter(self._policy) for _ in items]
        answers = await fail(self._report_lane, items, self._delays, jitters, self._ends)
        self.in_flight.ended()
        for due_in in {answer.due_in for answer in answers if answer.due_in is not None}:
            self.dispatchers.wake_in(due_in)
        self._observer.results("fail", Tally(answer.verdict for answer in answers))
        dead = sum(answer.verdict is Verdict.OK and answer.due_in is None for answer in answers)
        self._observer.dead_letters(dead)
        reported = [Reported(answer.verdict, answer.model_id) for answer in answers]
        job_lines.failed(items, reported)
        return reported

    async def keep(self, living: Sequence[LivingWorker]) -> None:
        """Extend what workers of unary calls have claimed on connections that they still hold."""
        await job_events.keep(self.extend_lane, living, self.unary_lease_seconds)

    async def _log_event(self, events: Sequence[NewJobEvent], *, with_key: bool) -> Sequence[int | None]:
        return await job_events.log(self.extend_lane, events, self.unary_lease_seconds, with_key=with_key)

    async def _release(self, tokens: Sequence[Token]) -> Sequence[Verdict]:
        verdicts = await release(self._report_lane, tokens)
        self.in_flight.ended()
        self._observer.results("release", Tally(verdicts))
        job_lines.released(tokens, verdicts)
        self.dispatchers.wake()
        return verdicts


def _jobs_in(groups: Sequence[Completions]) -> int:
    return sum(len(group.job_ids) for group in groups)
