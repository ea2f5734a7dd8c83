"""Whether this server can do its work: ready is a statement that wrote lately, and duties that run."""

import asyncio
from collections.abc import Callable

from thumbq_server.engine.outage import Outage, Unavailable
from thumbq_server.engine.upkeep.janitor import Janitor
from thumbq_server.storage.postgres.database import Database

STARTING = "the server is starting"
_EVERY_SECONDS = 2.0
_LIMIT_SECONDS = 5.0
# The pause while something is in the way.
_AGAIN_SECONDS = 0.5


class Readiness:
    """Writes a beat every two seconds, and sooner while something is in the way.

    `tell` gets what is in the way, or None while everything works. It does not wait: no peer may hold up the beats.
    """

    def __init__(
        self,
        database: Database,
        janitor: Janitor,
        tell: Callable[[str | None], None],
        *,
        every: float = _EVERY_SECONDS,
        again: float = _AGAIN_SECONDS,
        limit: float = _LIMIT_SECONDS,
    ) -> None:
        self._database = database
        self._janitor = janitor
        self._tell = tell
        self._every = every
        self._again = again
        self._limit = limit
        self._outage = Outage("readiness")

    async def run(self) -> None:
        """Look, and tell, until cancelled."""
        while True:
            if await self.look() is None:
                await asyncio.sleep(self._every)
            else:
                await self._database.history.comeback.pause(self._again)

    async def look(self) -> str | None:
        """Look once, tell what was found, and return it."""
        trouble = await self._trouble()
        self._tell(trouble)
        return trouble

    async def _trouble(self) -> str | None:
        beat = asyncio.create_task(self._database.beat())
        try:
            await asyncio.wait({beat}, timeout=self._limit)
            if not beat.done():
                return await self._give_up(beat)
            await beat
        except Unavailable as error:
            self._outage.began(error)
            return self._database.in_words(error)
        finally:
            beat.cancel()
        self._outage.ended()
        return self._janitor.overdue()

    async def _give_up(self, beat: asyncio.Task[None]) -> str:
        reason = self._database.why_silent()
        self._outage.began(Unavailable(f"no answer within {self._limit:g} s"))
        # The connections go first: to cancel a statement politely takes seconds on a host that is frozen.
        if self._database.has_other_hosts:
            self._database.drop_connections()
        beat.cancel()
        await asyncio.wait({beat})
        if not beat.cancelled():
            beat.exception()  # whatever it was, no answer came in time
        return reason
