"""Which history the database has. A restored backup, or a primary that lost commits, is another history.

The epoch names the history. It is part of cursors and of lease tokens
(docs/decisions/0016-histories.md).
"""

import asyncio
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import asyncpg
import structlog

from thumbq_server.storage.postgres.errors import Unavailable
from thumbq_server.storage.postgres.patience import Comeback, broken_off_after
from thumbq_server.storage.statements import Statement

log = structlog.get_logger()

# A new epoch raises the beat by this much, so that every other server finds the beat ahead of its own.
_LEAP = 1_000_000
# Seconds for a new history to begin, and to wait for another connection that begins it: its host may be silent.
_PATIENCE = 5.0

# The cluster, its timeline, the database, and the table: a restore of a dump makes another table.
_IDENTITY = """(SELECT system_identifier FROM pg_control_system()) || '/'
           || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) || '/'
           || (SELECT oid FROM pg_database WHERE datname = current_database()) || '/' || 'queue_head'::regclass::oid"""
_CLAIMS = "coalesce(pg_sequence_last_value('claim_seq'::regclass), 0)"
_JOBS = "coalesce(pg_sequence_last_value(pg_get_serial_sequence('jobs', 'id')::regclass), 0)"
_COLUMNS = f"epoch, seq, beat, {_CLAIMS} AS claims, {_JOBS} AS jobs, identity, {_IDENTITY} AS present_identity"

LOOK = Statement("history_look", "", f"SELECT {_COLUMNS} FROM queue_head")

BEAT = Statement("history_beat", "", f"UPDATE queue_head SET beat = beat + 1 RETURNING {_COLUMNS}")

BEGIN = Statement(
    "history_begin",
    "known_epoch text, known_beat bigint, epoch text, beat bigint, identity text",
    "UPDATE queue_head SET epoch = $3, beat = greatest(beat, $4), identity = $5 WHERE epoch = $1 AND beat >= $2",
)

IDENTIFY = Statement("history_identify", "identity text", "UPDATE queue_head SET identity = $1 WHERE identity IS NULL")


class _Place(NamedTuple):
    """How far a history is. `identity` is what the table says, `present_identity` what is so."""

    epoch: str
    seq: int
    beat: int
    claims: int
    jobs: int
    identity: str | None
    present_identity: str


class History:
    """The history that one server works on. It looks at each new connection, and with each beat.

    Every server raises the beat in the table all the time. When a server finds a beat, a head of the log, a number of
    claims, or an id of jobs before one that it has seen, commits are lost. When the table carries another identity
    than the database has, it was copied.

    A number of a sequence counts as seen when it is of a committed answer, or when a beat has read it, whose own commit
    has flushed the log up to there. A look flushes nothing, and may read a number of a transaction that is under way:
    PostgreSQL logs 32 numbers at once, and a crash takes the first of them back when that record was not flushed yet.
    """

    def __init__(self, *, patience: float = _PATIENCE) -> None:
        self._patience = patience
        self.epoch = ""
        # Raised with each change.
        self.version = 0
        self._known: _Place | None = None
        self._beginning = asyncio.Lock()
        self.comeback = Comeback()
        self._listeners: list[Callable[[], None]] = []

    def on_change(self, listener: Callable[[], None]) -> None:
        """Have `listener` called when another history was found, before any further statement runs."""
        self._listeners.append(listener)

    def check(self, version: int) -> None:
        """Raise Unavailable when the history is another one than at this version.

        Numbers of workers and jobs that were read before mean others now.
        """
        if version != self.version:
            raise Unavailable("the database has another history than when this was asked for")

    async def look(self, connection: asyncpg.Connection) -> None:
        """Find out which history the database behind a new connection has. Without tables it has none.

        A connection that cannot tell is broken off. One of a host that takes no writes any more raises what it would
        have raised while it was opened: it leads to no primary, and other connections may do so.
        """
        try:
            await self._judge(connection, LOOK)
        except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError):
            pass
        except asyncpg.ReadOnlySQLTransactionError as error:
            connection.terminate()
            raise asyncpg.TargetServerAttributeNotMatched(str(error)) from error
        except BaseException:
            connection.terminate()
            raise
        self.comeback.reached()

    async def beat(self, connection: Any) -> None:
        """Write a sign of life into the table, and look."""
        await self._judge(connection, BEAT)

    def has_reached(self, seq: int, version: int) -> None:
        """Note how far the log was read, at this version: a shorter log has lost commits.

        This is known at once, while the next beat may be two seconds away.
        """
        known = self._known
        if version == self.version and known is not None and seq > known.seq:
            self._known = known._replace(seq=seq)

    def has_claimed(self, lease_seq: int, version: int) -> None:
        """Note the number of a claim, at this version: a history that would give it again is another one."""
        known = self._known
        if version == self.version and known is not None and lease_seq > known.claims:
            self._known = known._replace(claims=lease_seq)

    def has_created(self, job_id: int, version: int) -> None:
        """Note the id of a new job, at this version: a history that would give it again is another one."""
        known = self._known
        if version == self.version and known is not None and job_id > known.jobs:
            self._known = known._replace(jobs=job_id)

    async def _judge(self, connection: Any, statement: Statement) -> None:
        while True:
            # An answer is compared with what was known before the question: answers may overtake each other.
            known, version = self._known, self.version
            place = _Place(*await connection.fetchrow(str(statement)))
            if version != self.version:
                continue
            if place.identity is None:
                await _identify(connection, place)
            if not _is_other(place, known):
                self._take(place if statement is BEAT else _without_numbers(place))
                return
            # After a failover all connections find out at the same time: one of them is enough.
            async with asyncio.timeout(self._patience):
                await self._beginning.acquire()
            try:
                if version == self.version:
                    await broken_off_after(self._patience, connection, partial(self._begin, place=place, known=known))
                    return
            finally:
                self._beginning.release()

    async def _begin(self, connection: Any, place: _Place, known: _Place | None) -> None:
        version = self.version
        beat = max(place.beat, known.beat if known else 0) + _LEAP
        epoch = uuid.uuid4().hex[:8]
        await connection.execute(str(BEGIN), place.epoch, place.beat, epoch, beat, place.present_identity)
        # Another server may have been faster: what the table says now counts. Until it is read, what is known stays.
        present = _Place(*await connection.fetchrow(str(LOOK)))
        if version == self.version:
            self._known = None
        self._take(_without_numbers(present))
        log.warning("database.other_history", before=known, now=self._known)

    def _take(self, place: _Place) -> None:
        known = self._known
        if known is not None and known.epoch == place.epoch:
            seq, beat, claims, jobs = map(max, known[1:5], place[1:5])
            place = place._replace(seq=seq, beat=beat, claims=claims, jobs=jobs)
        self._known = place
        if place.epoch != self.epoch:
            is_change = self.epoch != ""
            self.epoch = place.epoch
            if is_change:
                self.version += 1
                for listener in self._listeners:
                    listener()


def _without_numbers(place: _Place) -> _Place:
    """Return the place without the numbers of sequences, which a look does not know to be there after a crash."""
    return place._replace(claims=0, jobs=0)


def _is_other(place: _Place, known: _Place | None) -> bool:
    """Return whether the database has gone back, or is a copy, and no server has given it a new epoch yet."""
    if place.identity is not None and place.identity != place.present_identity:
        return True
    if known is None:
        return False
    if place.beat < known.beat:
        return True
    went_back = place.seq < known.seq or place.claims < known.claims or place.jobs < known.jobs
    return place.epoch == known.epoch and went_back


async def _identify(connection: Any, place: _Place) -> None:
    try:
        await connection.execute(str(IDENTIFY), place.present_identity)
    except asyncpg.PostgresError:
        return  # read-only or full: the next connection tries again
