"""The room that a burst of jobs leaves in the live tables."""

import time

from thumbq_server.storage import live_tables
from thumbq_server.storage.postgres.database import Database

_REST_SECONDS = 60.0


class GiveBackRoom:
    """Makes the live tables small again after a burst, once no server has claimed a job since the last look.

    It rests for a minute when a table stays large, such as one that another transaction uses, and when it breaks off.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._last_claim: int | None = None
        self._rests_until = 0.0

    async def __call__(self) -> int:
        """Return how many tables became small."""
        if time.monotonic() < self._rests_until:
            return 0
        self._last_claim, swollen = await live_tables.find_swollen(self._database, self._last_claim)
        if not swollen:
            return 0
        self._rests_until = time.monotonic() + _REST_SECONDS
        await live_tables.give_back_room(self._database, swollen, self._last_claim)
        last_claim, still_swollen = await live_tables.find_swollen(self._database, self._last_claim)
        if not still_swollen:
            self._rests_until = 0.0
        return len(swollen) - len(still_swollen) if last_claim == self._last_claim else 0
