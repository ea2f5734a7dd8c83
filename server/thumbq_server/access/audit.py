"""Keeps the audit log, as rows and as lines of the server's log."""

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import structlog

from thumbq_runtime.access.on_behalf import Origin
from thumbq_runtime.access.sample import Sample
from thumbq_runtime.text import printable
from thumbq_server.domain.access.audit import AuditRecord, Deed, Outcome
from thumbq_server.domain.refusals import Refused
from thumbq_server.engine.outage import Unavailable
from thumbq_server.storage.access import audit as storage
from thumbq_server.storage.postgres.database import Database

# Refusals and sign-ins that wait for PostgreSQL. More are lines of the log only.
_MOST_WAITING = 1_000
_PRUNED_AT_ONCE = 10_000

log = structlog.get_logger()


class Audit:
    """Records actions before they are done, and refusals soon after. Methods that await raise Unavailable."""

    def __init__(self, database: Database, keep: float) -> None:
        """Keep rows for `keep` seconds."""
        self._database = database
        self._keep = keep
        self._waiting: list[Deed] = []
        self._sample = Sample()

    @asynccontextmanager
    async def action(self, origin: Origin, action: str, detail: str) -> AsyncIterator[Callable[[str], None]]:
        """Record what the block does: no action is done without a row. The block may name what it has made."""
        begun = Deed(who_is(origin), origin.address, action, Outcome.BEGUN, detail)
        row_id = await storage.begin(self._database, begun)
        ended = begun._replace(outcome=Outcome.FAILED)

        def name(reference: str) -> None:
            nonlocal ended
            ended = ended._replace(reference=reference)

        try:
            yield name
            ended = ended._replace(outcome=Outcome.DONE)
        except Refused as refusal:
            ended = ended._replace(outcome=Outcome.REFUSED, detail=f"{refusal} {detail}")
            raise
        finally:
            _write_line(ended)
            with contextlib.suppress(Unavailable):  # the row says that it was begun
                await storage.end(self._database, row_id, ended)

    def note_refusal(self, origin: Origin, action: str, reason: str) -> None:
        """Record that a call was refused, unless there are too many of the same caller."""
        deed = Deed(who_is(origin), origin.address, action, Outcome.REFUSED, reason)
        if self._sample.takes((deed.who, deed.address)):
            self.note(deed)

    def note(self, deed: Deed) -> None:
        """Record what has happened already."""
        _write_line(deed)
        if len(self._waiting) < _MOST_WAITING:
            self._waiting.append(deed)

    async def list(self, below: int, limit: int, *filters: str) -> tuple[list[AuditRecord], int | None]:
        """Return a page of rows, the newest first, and the id that those of the next page are below."""
        rows = await storage.list_audit(self._database, below, limit, *filters)
        return rows, rows[-1].id if len(rows) == limit else None

    async def write(self) -> int:
        """Write what was noted."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            try:
                await storage.write(self._database, waiting)
            except Unavailable:
                self._waiting = (waiting + self._waiting)[:_MOST_WAITING]
                raise
        return 0

    async def prune(self) -> int:
        """Delete rows that are too old. Return how many."""
        return await storage.prune(self._database, self._keep, _PRUNED_AT_ONCE)


def who_is(origin: Origin) -> str:
    """Return a caller in words."""
    if origin.prefix:
        return f"key {origin.prefix}"
    return f"certificate {origin.certificate}" if origin.certificate else "no key"


def _write_line(deed: Deed) -> None:
    fields: dict[str, Any] = {name: printable(str(value)) for name, value in deed._asdict().items() if value}
    log.info("audit", **fields)
