"""Jobs in flight: how many leases each caller has from this server, and how many more it may have.

A lease ends in many ways, and other servers know of some of them alone. So nothing is taken off a count when a lease
ends: jobs are added as they are handed out, and PostgreSQL tells from time to time how many leases are left. Between
two looks a count may be too high, never too low. A caller is refused only after a look.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field

from thumbq_runtime.limits.bounds import TooMany
from thumbq_runtime.limits.rates import Kind
from thumbq_server.domain.columns import NOTHING, Claimed
from thumbq_server.engine.in_flight.holder import UNBOUNDED, Holder
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.errors import Unavailable
from thumbq_server.storage.reads.leases import count_leases

# The part of one connection's time that looks may take.
_SHARE = 0.1
_LEAST_PAUSE = 0.02
_MOST_PAUSE = 5.0
_LOOK_AGAIN = 0.25  # while a caller has no room: a lease may expire, or end by another server
_LOOK_AT_LEAST = 60.0


@dataclass
class Claiming:
    """A call that claims: how many jobs it may get, and those that it got."""

    most: int
    jobs: Claimed = field(default_factory=lambda: NOTHING)


class JobsInFlight:
    """The callers that have jobs in flight, or may get some."""

    def __init__(self, database: Database, most: int | None = None) -> None:
        """`most` is the bound of each caller; None: there is none."""
        self._database = database
        self._most = most
        self._holders: dict[str, Holder] = {}
        self._look = asyncio.Event()
        # Answers those who wait for the next look.
        self._asked: asyncio.Future[Unavailable | None] | None = None
        self._any_full = False
        # Called when a caller is kept from jobs.
        self.on_refused: Callable[[Kind, str], None] = lambda *_: None
        # Called with the seconds that a call which asks for jobs is told, when it is refused.
        self.on_refused_claim: Callable[[Kind, float], None] = lambda *_: None
        # Called when a caller has room again.
        self.on_room: Callable[[], None] = lambda: None
        database.history.on_change(self._forget)

    def __len__(self) -> int:
        """Return how many jobs are counted, or may come, in all."""
        return sum(holder.most - holder.room for holder in self._holders.values())

    @contextmanager
    def of(self, caller: str) -> Iterator[Holder]:
        """Yield the holder of a caller's jobs; "" is a caller that is not counted."""
        if not caller or self._most is None:
            yield UNBOUNDED
            return
        holder = self._holders.setdefault(caller, Holder(caller, self._most, self._look.set))
        holder.users += 1
        try:
            yield holder
        finally:
            holder.users -= 1
            self._forget_idle(holder)

    @asynccontextmanager
    async def claiming(self, caller: str, session: int, count: int) -> AsyncIterator[Claiming]:
        """Take room for up to `count` jobs of a call, and keep what it got. Raises TooMany, Unavailable."""
        with self.of(caller) as holder:
            claiming = Claiming(await self._take(holder, count))
            try:
                yield claiming
            finally:
                got = len(claiming.jobs)
                holder.give_back(claiming.most - got)
                if got:
                    holder.hold(session, got)

    async def _take(self, holder: Holder, count: int) -> int:
        """Take room, and return for how many jobs."""
        if holder.room <= 0:
            await self._looked()
        if holder.room <= 0:
            self.on_refused(Kind.JOBS_IN_FLIGHT, holder.caller)
            refusal = TooMany(Kind.JOBS_IN_FLIGHT, holder.most)
            self.on_refused_claim(refusal.kind, refusal.retry_after)
            raise refusal
        taken = min(count, holder.room)
        holder.take(taken)
        return taken

    def ended(self) -> None:
        """Look soon if a caller waits for room: leases have ended."""
        if self._any_full:
            self._look.set()

    async def run(self) -> None:
        """Look when a caller is short of room, and now and then, until cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_AGAIN if self._any_full else _LOOK_AT_LEAST):
                    await self._look.wait()
            self._look.clear()
            began = time.monotonic()
            asked, self._asked = self._asked, None
            error = await self._problem_of_look()
            if asked and not asked.done():
                asked.set_result(error)
            # A look that failed took the time of no connection that works, however long it lasted.
            pause = 0.0 if error else (time.monotonic() - began) / _SHARE
            await asyncio.sleep(max(_LEAST_PAUSE, min(pause, _MOST_PAUSE)))

    async def look(self) -> None:
        """Let PostgreSQL say how many leases are left. Raises Unavailable."""
        counted = [(holder, dict(holder.held)) for holder in self._holders.values()]
        sessions = {session for _, held in counted for session in held}
        history = self._database.history.version
        left = await count_leases(self._database, sorted(sessions)) if sessions else {}
        self._database.history.check(history)
        has_room = False
        for holder, held in counted:
            was_full = holder.room <= 0
            holder.let_go(held, left)
            has_room |= was_full and holder.room > 0
            self._tell(holder)
            self._forget_idle(holder)
        self._any_full = any(holder.room <= 0 for holder in self._holders.values())
        if has_room:
            self.on_room()

    def _forget(self) -> None:
        """Return the room of all leases: another history gives the numbers of sessions to others."""
        for holder in list(self._holders.values()):
            holder.let_go(dict(holder.held), {})
            self._forget_idle(holder)

    def _tell(self, holder: Holder) -> None:
        """Note once that a caller is kept from jobs, until it has room again."""
        is_full = holder.room <= 0 and bool(holder.held)
        if is_full and not holder.is_told:
            self.on_refused(Kind.JOBS_IN_FLIGHT, holder.caller)
        holder.is_told = is_full

    def _forget_idle(self, holder: Holder) -> None:
        if not holder.users and holder.room == holder.most and self._holders.get(holder.caller) is holder:
            del self._holders[holder.caller]

    async def _looked(self) -> None:
        """Wait for a look that begins from now on. Raises Unavailable."""
        if self._asked is None:
            self._asked = asyncio.get_running_loop().create_future()
        self._look.set()
        if error := await asyncio.shield(self._asked):
            raise Unavailable(str(error)) from error

    async def _problem_of_look(self) -> Unavailable | None:
        try:
            await self.look()
        except Unavailable as error:
            return error
        return None
