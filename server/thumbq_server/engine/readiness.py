"""Whether this server can do its work: ready is a statement that wrote lately, and duties that run."""

import asyncio
from collections.abc import Awaitable, Callable

from thumbq_server.engine.janitor import Janitor
from thumbq_server.engine.outage import Outage, Unavailable
from thumbq_server.storage.postgres.database import Database

STARTING = "the server is starting"
_EVERY_SECONDS = 2.0
_LIMIT_SECONDS = 5.0


class Readiness:
    """Writes a beat every two seconds. `tell` gets what is in the way, or None while everything works."""

    def __init__(
        self,
        database: Database,
        janitor: Janitor,
        tell: Callable[[str | None], Awaitable[None]],
        *,
        every: float = _EVERY_SECONDS,
        limit: float = _LIMIT_SECONDS,
    ) -> None:
        self._database = database
        self._janitor = janitor
        self._tell = tell
        self._every = every
        self._limit = limit
        self._outage = Outage("readiness")

    async def run(self) -> None:
        """Look, and tell, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(self._every)

    async def look(self) -> None:
        """Look once, and tell what was found."""
        await self._tell(await self._trouble())

    async def _trouble(self) -> str | None:
        try:
            async with asyncio.timeout(self._limit):
                await self._database.beat()
        except Unavailable as error:
            self._outage.began(error)
            return self._database.in_words(error)
        except TimeoutError:
            self._outage.began(Unavailable(f"no answer within {self._limit:g} s"))
            if self._database.has_other_hosts:
                self._database.drop_connections()
            return "the database does not answer"
        self._outage.ended()
        return self._janitor.overdue()
