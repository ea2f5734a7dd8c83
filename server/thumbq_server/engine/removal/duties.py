"""The duties: pictures come onto the list, and go from where they are kept.

A picture goes first, and its row on the list after it: a crash in between leaves a row without a picture, which is
dropped. A picture that an end of any job names stays. So does one that has changed since it was reported, for an hour:
a worker may have written it for a job that it has not reported yet.
"""

import time
from collections.abc import Sequence

from thumbq_server.engine.removal.places import STILL_IN_WORK, Outcome, Place
from thumbq_server.storage import removals
from thumbq_server.storage.postgres.database import Database

LIMIT = 1000
_LIST_SECONDS = 0.5  # The other duties wait meanwhile.
# The look into the table of ends may take this part of the time.
_SHARE = 0.05


class ListSuperseded:
    """Lists pictures that others replaced `grace` seconds ago. Each run continues where the last one ended."""

    def __init__(self, database: Database, grace: float) -> None:
        self._database = database
        self._grace = grace
        self._after = 0

    async def __call__(self) -> int:
        """Return how many were listed."""
        count = 0
        until = time.monotonic() + _LIST_SECONDS
        while True:
            listed, last = await removals.list_superseded(self._database, self._grace, self._after, LIMIT)
            count += listed
            self._after = last or 0
            if last is None or time.monotonic() >= until:
                return count


class RemovePictures:
    """Removes the listed pictures from where they are kept."""

    def __init__(self, database: Database, places: Sequence[Place]) -> None:
        self._database = database
        self._places = places
        self._not_before = 0.0

    async def __call__(self) -> int:
        """Return how many pictures were removed."""
        history = self._database.history.version
        if time.monotonic() < self._not_before or not (due := await removals.due(self._database, LIMIT)):
            return 0
        began = time.monotonic()
        named = await removals.named(self._database, [removal.path for removal in due])
        self._not_before = time.monotonic() + (time.monotonic() - began) / _SHARE
        left = [removal for removal in due if removal.path not in named]
        outcomes = dict.fromkeys((removal.id for removal in due if removal.path in named), Outcome.NAMED)
        for place in self._places:
            outcomes |= await place.remove([removal for removal in left if place.has(removal.path)])
        strange = [removal for removal in left if not any(place.has(removal.path) for place in self._places)]
        outcomes |= dict.fromkeys((removal.id for removal in strange), Outcome.NOT_OURS)
        later = [number for number, outcome in outcomes.items() if outcome in {Outcome.CHANGED, Outcome.NOT_NOW}]
        await removals.drop(self._database, history, sorted(outcomes.keys() - later))
        await removals.postpone(self._database, history, later, STILL_IN_WORK)
        return sum(outcome is Outcome.REMOVED for outcome in outcomes.values())
