"""How far the jobs under way have come: written down once a second, for all jobs of a server in one statement."""

import time
from collections.abc import Callable, Iterable

from thumbq_server.domain.job import Extension, Token, Verdict
from thumbq_server.domain.progress import Progress
from thumbq_server.storage import progress
from thumbq_server.storage.postgres.database import Database

_PRUNE_LIMIT = 1000
_PRUNE_SECONDS = 0.5  # The other duties wait meanwhile.


class RecordProgress:
    """Keeps the newest entry of each job until it is called. Workers tell again whatever an outage loses."""

    def __init__(self, database: Database, on_report: Callable[[int], None] = lambda _: None) -> None:
        """`on_report` is called with the session of a worker that tells something without a stream."""
        self._database = database
        self._on_report = on_report
        self.on_written: Callable[[], None] = lambda: None
        self._told: dict[int, Progress] = {}
        database.history.on_change(self._told.clear)

    def note(self, told: Iterable[Progress]) -> None:
        """Note what workers tell of leases that they have."""
        for entry in told:
            older = self._told.get(entry.token.job_id)
            if older is None or older.token.lease_seq <= entry.token.lease_seq:
                self._told[entry.token.job_id] = entry

    async def report(self, told: Progress, seconds: float) -> Extension:
        """Note what a worker without a stream tells, and let its lease last `seconds` from now."""
        history = self._database.history.version
        held = await progress.sign_of_life(self._database, history, told.token, seconds)
        self._database.history.check(history)
        if isinstance(held, Verdict):
            return Extension(held, None)
        self._on_report(held.session)
        self.note([told._replace(token=Token(told.token.job_id, held.lease_seq))])
        return Extension(Verdict.OK, held.expires_at)

    async def __call__(self) -> int:
        """Return 0: progress is not worth a line in the log."""
        if self._told:
            history, told = self._database.history.version, list(self._told.values())
            self._told.clear()
            await progress.write(self._database, history, told)
            self.on_written()
        return 0


class PruneProgress:
    """Forgets what was told of leases that have ended."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def __call__(self) -> int:
        """Return 0: progress is not worth a line in the log."""
        until = time.monotonic() + _PRUNE_SECONDS
        while await progress.prune(self._database, _PRUNE_LIMIT) == _PRUNE_LIMIT and time.monotonic() < until:
            pass
        return 0
