"""The rules of a worker's session on one stream: delivery, heartbeats, results, drain, and its end."""

import asyncio
import contextlib
import random
import uuid
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from thumbq_runtime.process.pieces import PIECE
from thumbq_server.domain.columns import Claimed, Report
from thumbq_server.domain.job import Extension, LostReason, Token, Verdict
from thumbq_server.domain.progress import Progress
from thumbq_server.domain.refusals import Invalid
from thumbq_server.engine.dispatching.credits import Claimant
from thumbq_server.engine.dispatching.dispatcher import Dispatcher
from thumbq_server.engine.in_flight.holder import Holder
from thumbq_server.engine.outage import RateLimitedLog
from thumbq_server.engine.queue import Queue
from thumbq_server.engine.sessions.deliveries import Deliveries
from thumbq_server.engine.sessions.phase import NEXT, Phase
from thumbq_server.engine.sessions.returns import Returns
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.errors import Unavailable
from thumbq_server.storage.reads.leases import held_leases, why_lost

log = structlog.get_logger()

MAX_CREDITS = 100_000
MAX_ADD = 10_000
MISSED_HEARTBEATS = 3
_AWAY_RETRY_SECONDS = 0.5
_LOOK_AGAIN_SECONDS = 0.25
# For the results of a worker that is sent away.
CLOSE_SECONDS = 2.0
_report_log = RateLimitedLog("report.unavailable")


@dataclass(frozen=True, slots=True)
class SessionTimes:
    """Seconds. A delivered job has `delivery_lease`; a heartbeat that names it makes that `lease`."""

    delivery_lease: int = 10
    lease: int = 30
    heartbeat: float = 3.0
    # About this old, a stream is asked to go, so that load spreads over servers; it has `leave` to do so.
    max_age: float = 3600.0
    leave: float = 60.0

    @property
    def silence(self) -> float:
        """How long a worker may be silent."""
        return self.heartbeat * MISSED_HEARTBEATS


class Peer(Protocol):
    """The worker at the other end of the stream. Messages arrive in order; sending never blocks."""

    def send_welcome(self, session: "Session", held: Sequence[Token]) -> None:
        """Begin: `held` are the leases that the worker still has from an older stream."""

    def send_jobs(self, number: int, jobs: Claimed) -> None:
        """Send message `number` of jobs."""

    def send_lease_lost(self, tokens: Sequence[Token], reason: LostReason) -> None:
        """Tell the worker to stop working on these."""

    def send_drain(self, reconnect_after: float) -> None:
        """Ask the worker to go."""


class Session:
    """A worker's session while a stream serves it."""

    def __init__(
        self,
        database: Database,
        queue: Queue,
        times: SessionTimes,
        peer: Peer,
        *,
        number: int,
        worker_id: str,
        name: str,
        on_heartbeat: Callable[[int], None],
        returns: Returns,
        dispatcher: Dispatcher,
        holder: Holder,
    ) -> None:
        self._database = database
        self._queue = queue
        self._dispatcher = dispatcher
        self._times = times
        self._peer = peer
        self._on_heartbeat = on_heartbeat
        self.number = number
        self.worker_id = worker_id
        # The session_id that the worker knows it by.
        self.name = name
        # The history of the database that it lives in; a new one ends it.
        self.history = database.history.epoch
        # Tells this stream from every other, of this server and the next.
        self.stream_id = uuid.uuid4().hex
        self.phase = Phase.WORKING
        # Whether Welcome is sent, which is the first message.
        self.is_welcome = False
        self.closing = asyncio.Event()
        self.ended = asyncio.Event()
        self._sent_away = asyncio.Event()
        self.sent_away_because: str | None = None
        self._claimant = Claimant(number, times.delivery_lease, self._deliver, holder=holder)
        self._deliveries = Deliveries(times.delivery_lease)
        self._returns = returns
        self._tasks: set[asyncio.Task[None]] = set()
        self._reported = asyncio.Event()
        self._finisher: asyncio.Task[None] | None = None
        self._timers: list[asyncio.TimerHandle] = []

    async def welcome(self) -> None:
        """Begin, and see that the stream does not get too old. Raises Unavailable."""
        held = await held_leases(self._database, self.number)
        if self.history != self._database.history.epoch:
            raise Unavailable("the database has another history than when the stream began")
        self._peer.send_welcome(self, held)
        self.is_welcome = True
        self._call_later(self._times.max_age * random.uniform(0.8, 1.2), lambda: self.drain(random.uniform(0, 1)))

    # The worker's messages.

    def add_credits(self, count: int) -> None:
        """Let the worker have `count` more jobs."""
        if not 1 <= count <= MAX_ADD or self._claimant.credits + count > MAX_CREDITS:
            raise Invalid(f"add must be between 1 and {MAX_ADD}, and credits at most {MAX_CREDITS} in all")
        if self.phase is Phase.WORKING:
            self._dispatcher.add_credits(self._claimant, count)

    def confirm(self, number: int) -> None:
        """Note that message `number` of jobs has arrived."""
        self._deliveries.confirm(number)

    async def heartbeat(self, tokens: Sequence[Token]) -> None:
        """Extend the leases that a heartbeat names; tell the worker which of them it has lost."""
        await self._extend(tokens)

    async def progress(self, told: Sequence[Progress]) -> None:
        """Note how far jobs of the worker have come. It counts as a heartbeat of those whose leases it holds."""
        answers = await self._extend([entry.token for entry in told])
        # without answers, nothing is known to be held
        held = zip(told, answers, strict=False)
        if self.history == self._database.history.epoch:
            self._queue.progress.note(entry for entry, answer in held if answer.verdict is Verdict.OK)

    async def _extend(self, tokens: Sequence[Token]) -> Sequence[Extension]:
        self._on_heartbeat(self.number)
        self._deliveries.confirm_jobs(tokens)
        try:
            answers = await self._queue.extend([(token, float(self._times.lease)) for token in tokens])
            lost = [token for token, answer in zip(tokens, answers, strict=True) if answer.verdict is not Verdict.OK]
            reasons = await why_lost(self._database, lost) if lost else {}
        except Unavailable:
            return []  # The next heartbeat tries again.
        for reason in LostReason:
            self.lose([token for token, why in reasons.items() if why is reason], reason)
        return answers

    async def report(self, report: Report) -> list[tuple[Token, Verdict]]:
        """Commit results, and keep trying while PostgreSQL is away. Return those that were not simply taken."""
        while self.history == self._database.history.epoch:
            try:
                refused = await self._queue.report(report)
            except Unavailable as error:
                _report_log.warning(error)
                await self._database.history.comeback.pause(_AWAY_RETRY_SECONDS)
            else:
                self._reported.set()
                return refused
        return [(token, Verdict.STALE) for token in report.tokens()]

    def finish(self) -> None:
        """Give the worker no more jobs, as it asks; close when it holds none any more."""
        self._enter(Phase.DRAINING)
        self._finisher = self._finisher or asyncio.create_task(self._close_when_idle())

    # The server's decisions.

    def lose(self, tokens: Sequence[Token], reason: LostReason) -> None:
        """Tell the worker to stop working on these. One without its Welcome learns it from its first heartbeat."""
        if tokens and self.is_welcome:
            self._peer.send_lease_lost(tokens, reason)

    def drain(self, reconnect_after: float) -> None:
        """Give the worker no more jobs, and ask it to go; a worker that stays is sent away."""
        self._enter(Phase.DRAINING)
        self._peer.send_drain(reconnect_after)
        self._call_later(self._times.leave, lambda: self.send_away("the stream was asked to end"))

    def send_away(self, why: str) -> None:
        """End the stream soon, with a reason for the worker."""
        self.sent_away_because = self.sent_away_because or why
        self._sent_away.set()
        self.close()

    def close(self) -> None:
        """Take in no more messages."""
        if self._enter(Phase.CLOSING):
            self.closing.set()

    async def settled(self) -> None:
        """Wait for the results that are being committed, but no longer than it makes sense."""
        if not self._tasks:
            return
        settled = asyncio.create_task(asyncio.wait(set(self._tasks)))
        away = asyncio.create_task(self._sent_away.wait())
        try:
            # Without PostgreSQL results wait; when the leases have run out they would be stale.
            await asyncio.wait([settled, away], timeout=self._times.lease, return_when=asyncio.FIRST_COMPLETED)
            if away.done():
                await asyncio.wait([settled], timeout=CLOSE_SECONDS)
        finally:
            settled.cancel()
            away.cancel()

    def end(self) -> None:
        """End. Jobs that the worker never confirmed go back; those that it reported have no lease any more."""
        self._enter(Phase.ENDED)
        for timer in self._timers:
            timer.cancel()
        for task in (self._finisher, *self._tasks):
            if task is not None:
                task.cancel()
        if self.history == self._database.history.epoch:
            self._give_back(self._deliveries.unreceived())
        self.ended.set()

    def _give_back(self, unreceived: Sequence[Token]) -> None:
        # All tokens of one call share a statement, however many there are.
        for start in range(0, len(unreceived), PIECE):
            unspent, failed = self._returns.sort(self.worker_id, unreceived[start : start + PIECE])
            self._queue.release_soon(unspent)
            self._queue.fail_soon(failed)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do `work` beside the reading of messages. The session waits for it when it closes."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("stream.failed", worker_id=self.worker_id, exc_info=error)
            self.send_away("internal error")

    def _enter(self, phase: Phase) -> bool:
        if phase not in NEXT[self.phase]:
            return False
        self.phase = phase
        self._dispatcher.remove(self._claimant)
        return True

    def _call_later(self, seconds: float, call: Callable[[], None]) -> None:
        self._timers.append(asyncio.get_running_loop().call_later(seconds, call))

    def _deliver(self, jobs: Claimed) -> None:
        if jobs:
            self._peer.send_jobs(self._deliveries.add(jobs), jobs)

    async def _close_when_idle(self) -> None:
        """Close when the worker holds nothing any more: its results are committed, or its leases are gone otherwise."""
        while True:
            self._reported.clear()
            with contextlib.suppress(Unavailable):
                if not await held_leases(self._database, self.number):
                    self.close()
                    return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._reported.wait(), _LOOK_AGAIN_SECONDS)
