"""A subscriber's way through the log: from its cursor on, every commit in order, or one reset."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

from thumbq_server.engine.readers import cursor as cursors
from thumbq_server.engine.readers.cursor import Cursor, ResetReason
from thumbq_server.engine.readers.hub import Commit, Hub, HubClosed, LogPruned, LogReplaced
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.errors import Unavailable

T = TypeVar("T")

_AWAY_RETRY_SECONDS = 0.5


class Step(NamedTuple):
    """The notifications in `commits` beyond seq `before`, up to `cursor`; without commits only the cursor moves.

    With a reset, the notifications between the two are missed.
    """

    before: int
    cursor: Cursor
    commits: Sequence[Commit] = ()
    reset: ResetReason | None = None


class Subscriptions:
    """Opens subscriptions of the log."""

    def __init__(self, database: Database, hub: Hub) -> None:
        self._database = database
        self._hub = hub

    async def follow(self, after: str) -> AsyncGenerator[Step, None]:
        """Follow the log from `after` on (see `cursor.resume`) until the hub closes, through outages of PostgreSQL.

        The first step has the cursor to start from, and no commits.
        """
        history = self._hub.history
        version = history.version
        with self._hub.reading():
            cursor, reset = await self._when_available(partial(cursors.resume, self._database, after))
            # Whoever got a first step from a server that ends would believe it to be there, and lose it at once.
            if self._hub.is_closed:
                return
            yield Step(cursor.seq, cursor, reset=reset)
            while True:
                before = cursor.seq
                try:
                    if version != history.version:
                        raise LogReplaced
                    commits = await self._when_available(partial(self._hub.after, before))
                except HubClosed:
                    return
                except LogReplaced:
                    version = history.version
                    newest = await self._when_available(partial(cursors.head, self._database))
                    if newest.epoch != cursor.epoch:
                        cursor = newest
                        yield Step(before, cursor, reset=ResetReason.OTHER_LOG)
                    continue
                except LogPruned:
                    cursor = await self._when_available(partial(cursors.head, self._database))
                    yield Step(before, cursor, reset=ResetReason.TOO_OLD)
                    continue
                cursor = cursor._replace(seq=commits[-1].seq_last)
                yield Step(before, cursor, commits)

    async def _when_available(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask until PostgreSQL answers: subscribers stay where they are through an outage."""
        while True:
            try:
                return await ask()
            except Unavailable:
                await self._database.history.comeback.pause(_AWAY_RETRY_SECONDS)
