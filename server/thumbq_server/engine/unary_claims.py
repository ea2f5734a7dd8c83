"""Claims of workers without a stream, which ask for jobs call by call."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

from thumbq_server.domain.columns import NOTHING, Claimed
from thumbq_server.domain.job import Token
from thumbq_server.engine.dispatching.credits import Claimant
from thumbq_server.engine.dispatching.dispatcher import Dispatcher
from thumbq_server.engine.dispatching.dispatchers import Dispatchers, Kinds
from thumbq_server.engine.in_flight.callers import JobsInFlight
from thumbq_server.storage import workers
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.errors import Unavailable

KNOWN_WORKERS = 10_000
# A worker that was silent for longer is registered again: it may have been pruned.
KNOWN_SECONDS = 86_400.0
# A caller that waits may have hung up when its answer comes. So its lease is short until the worker is heard of again.
FIRST_LEASE_SECONDS = 60


class UnaryClaims:
    """Hands jobs to the calls of workers, each of which claims for its worker's session."""

    def __init__(
        self,
        database: Database,
        dispatchers: Dispatchers,
        in_flight: JobsInFlight,
        release_soon: Callable[[Sequence[Token], int | None], None],
        lease_seconds: int,
        on_dequeue: Callable[[int], None],
    ) -> None:
        """`on_dequeue` gets the session of each worker that asks."""
        self._database = database
        self._dispatchers = dispatchers
        self._in_flight = in_flight
        self._release_soon = release_soon
        self._lease_seconds = lease_seconds
        self._on_dequeue = on_dequeue
        self._history = database.history
        self._known_workers: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def forget(self) -> None:
        """Forget the numbers of the workers, which are those of a history that is over."""
        self._known_workers.clear()

    async def dequeue(self, worker_id: str, max_jobs: int, wait: float, kinds: Kinds = (), caller: str = "") -> Claimed:
        """Claim up to `max_jobs` of these kinds; when nothing is due, wait up to `wait` seconds for the first.

        They count for `caller` ("": for no one). Raises TooMany.
        """
        history = self._history.version
        session = await self._session_of(worker_id)
        self._on_dequeue(session)
        with self._dispatchers.of(kinds) as dispatcher:
            async with self._in_flight.claiming(caller, session, max_jobs) as claiming:
                self._history.check(history)
                jobs = await self._claim(dispatcher, session, claiming.most, wait)
                self._history.check(history)
                claiming.jobs = jobs
                return jobs

    async def _session_of(self, worker_id: str) -> int:
        """Return the session of a worker that uses unary calls."""
        session, known_at = self._known_workers.get(worker_id, (None, 0.0))
        if session is None or time.monotonic() - known_at > KNOWN_SECONDS:
            history = self._history.version
            session = await workers.register(self._database, worker_id)
            self._history.check(history)
            self._known_workers[worker_id] = session, time.monotonic()
            if len(self._known_workers) > KNOWN_WORKERS:
                self._known_workers.popitem(last=False)
        return session

    async def _claim(self, dispatcher: Dispatcher, session: int, max_jobs: int, wait: float) -> Claimed:
        answer: asyncio.Future[Claimed] = asyncio.get_running_loop().create_future()
        history = self._history.version

        def deliver(claimed: Claimed) -> None:
            if answer.done():
                self._release_soon(claimed.tokens(), history)
            elif claimed or not wait:
                answer.set_result(claimed)
                dispatcher.remove(claimant)

        def unavailable(error: Unavailable) -> None:
            if not answer.done():
                answer.set_exception(error)

        lease = min(FIRST_LEASE_SECONDS, self._lease_seconds) if wait else self._lease_seconds
        claimant = Claimant(session, lease, deliver, unavailable)
        dispatcher.add_credits(claimant, max_jobs, fresh_look=True)
        try:
            # Without a wait, only the statement timeout limits a claim that hangs.
            async with asyncio.timeout(wait or None):
                return await asyncio.shield(answer)
        except TimeoutError:
            return answer.result() if answer.done() else NOTHING
        except asyncio.CancelledError:
            if answer.done() and not answer.exception():
                self._release_soon(answer.result().tokens(), history)
            raise
        finally:
            dispatcher.remove(claimant)
            answer.cancel()
