"""What is known of a history goes with it: its numbers name other workers and jobs in the next one."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Any

import pytest

from tests.engine.parts import POLICY, WatchedDatabase, running, until
from tests.engine.test_sessions import Peer
from tests.support.postgres.queue_under_test import QueueUnderTest, new_job
from thumbq.v1.queue_pb2 import DequeueJobsRequest
from thumbq_server.domain.job import Token
from thumbq_server.domain.model_versions import NewVersion
from thumbq_server.domain.paths import PathRule
from thumbq_server.domain.progress import Progress
from thumbq_server.engine.dispatching import dispatcher as dispatcher_module
from thumbq_server.engine.progress import RecordProgress
from thumbq_server.engine.queue import Queue
from thumbq_server.engine.removal.duties import RemovePictures
from thumbq_server.engine.removal.places import Outcome
from thumbq_server.engine.sessions.registry import TAKEN_OVER, Hello, Sessions
from thumbq_server.engine.sessions.session import Session, SessionTimes
from thumbq_server.engine.upkeep.duties import RecordSignsOfLife
from thumbq_server.rpc.calls.single import SingleCalls
from thumbq_server.storage.model_versions import OF_JOBS
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.errors import Unavailable
from thumbq_server.storage.postgres.notify import BROADCAST
from thumbq_server.storage.progress import SIGN_OF_LIFE
from thumbq_server.storage.reads.leases import HELD, LOST
from thumbq_server.storage.removals import DUE, Removal
from thumbq_server.storage.statements import Statement
from thumbq_server.storage.workers import REGISTER, register

HELLO = Hello("worker-1", "mine", "1.0", {})


async def begin_another_history(database: Database) -> None:
    """Have the database look as after a failover, and let the server find that."""
    before = database.history.epoch
    await database.run(lambda connection: connection.execute("UPDATE queue_head SET identity = 'another'"))
    with suppress(Unavailable):
        await database.beat()
    assert database.history.epoch != before


class FailsOver(Database):
    """A database whose history ends while a statement is answered."""

    during: Statement | None = None

    async def fetch(self, statement: Statement | str, *arguments: object, **options: Any) -> list[Any]:
        rows = await super().fetch(statement, *arguments, **options)
        if statement is self.during:
            self.during = None
            await begin_another_history(self)
        return rows


class Welcomed(Peer):
    """A worker that knows whether it was welcomed."""

    is_welcome = False

    def send_welcome(self, session: Session, held: Any) -> None:
        super().send_welcome(session, held)
        self.is_welcome = True


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[FailsOver]:
    async with FailsOver(database_url) as database:
        await database.beat()
        yield database


@pytest.fixture
async def queue(database: FailsOver) -> AsyncIterator[Queue]:
    queue = Queue(database, policy=POLICY, unary_lease_seconds=600, most_in_flight=5)
    async with running(queue.dispatchers.run()):
        yield queue
    await queue.drained()


@pytest.fixture
def sessions(database: FailsOver, queue: Queue) -> Sessions:
    return Sessions(database, queue, SessionTimes())


async def come(sessions: Sessions, peer: Peer) -> None:
    """Open a stream, and end it as soon as it was welcomed."""
    async with sessions.open(HELLO, peer):
        pass


async def test_a_stream_that_takes_over_across_a_failover_has_to_come_again(database: FailsOver, sessions: Sessions):
    """Its number was given in the old history. In the new one it is another worker's, whose leases it would get."""
    peer = Welcomed()
    async with sessions.open(HELLO, Peer()) as older:
        newer = asyncio.create_task(come(sessions, peer))
        await until(lambda: older.sent_away_because == TAKEN_OVER)
        await begin_another_history(database)
    with pytest.raises(Unavailable, match="another history"):
        await newer
    assert not peer.is_welcome
    await come(sessions, peer)
    assert peer.is_welcome


@pytest.mark.parametrize("during", [REGISTER, BROADCAST, HELD], ids=lambda statement: statement.name)
async def test_a_stream_that_begins_during_a_failover_has_to_come_again(
    during: Statement, database: FailsOver, sessions: Sessions
):
    peer = Welcomed()
    database.during = during
    with pytest.raises(Unavailable, match="another history"):
        await come(sessions, peer)
    assert not peer.is_welcome


async def test_a_call_that_begins_during_a_failover_has_to_be_made_again(database: FailsOver, queue: Queue):
    await queue.enqueue([new_job(1)])
    database.during = REGISTER
    with pytest.raises(Unavailable, match="another history"):
        await queue.dequeue("json", 1, 0)
    assert not queue.unary_claims._known_workers


async def test_leases_of_a_history_that_is_over_count_for_no_caller(database: FailsOver, queue: Queue):
    await queue.enqueue([new_job(1), new_job(2)])
    assert len(await queue.dequeue("json", 2, 30, (), "a")) == 2
    assert len(queue.in_flight) == 2
    await begin_another_history(database)
    assert len(queue.in_flight) == 0


async def test_signs_of_life_are_not_written_into_another_history(database_url: str):
    async with WatchedDatabase(database_url) as database:
        await database.beat()
        record = RecordSignsOfLife(database, 600)
        record.note(1)
        record.hear(2)
        await begin_another_history(database)
        await record()
        assert database.asked == []


@pytest.mark.parametrize("sign", ["note", "hear"])
async def test_signs_of_life_are_not_written_when_their_connection_finds_another_history(
    sign: str, database: FailsOver
):
    """It looks when it is opened: after the numbers were taken, and before they would be written."""
    session = await register(database, "json")
    long_ago = "UPDATE workers SET last_seen_at = '2000-01-01'; UPDATE queue_head SET identity = 'another'"
    await database.run(lambda connection: connection.execute(long_ago))
    record = RecordSignsOfLife(database, 600)
    getattr(record, sign)(session)
    database.drop_connections()
    with pytest.raises(Unavailable, match="another history"):
        await record()
    await record()
    assert await database.fetch("SELECT FROM workers WHERE last_seen_at > '2000-01-01'") == []


async def claimed_before_a_failover(database: FailsOver) -> Progress:
    """Return what the worker of a job tells, whose connection will find another history."""
    queue = QueueUnderTest(database, database.lane(), await register(database, "json"))
    (token,) = await queue.claimed(new_job(1))
    await database.run(lambda connection: connection.execute("UPDATE queue_head SET identity = 'another'"))
    database.drop_connections()
    return Progress(token, 0.5, "")


async def test_progress_is_not_written_when_its_connection_finds_another_history(database: FailsOver):
    told = await claimed_before_a_failover(database)
    record = RecordProgress(database)
    record.note([told])
    with pytest.raises(Unavailable, match="another history"):
        await record()
    await record()
    assert await database.fetch("SELECT FROM job_progress") == []


async def test_progress_extends_no_lease_when_its_connection_finds_another_history(database: FailsOver):
    told = await claimed_before_a_failover(database)
    record = RecordProgress(database)
    with pytest.raises(Unavailable, match="another history"):
        await record.report(told, 6000)
    await record()
    assert await database.fetch("SELECT FROM leases WHERE expires_at > now() + interval '1 hour'") == []
    assert await database.fetch("SELECT FROM job_progress") == []


async def test_progress_that_is_told_during_a_failover_is_not_kept_for_the_next_history(database: FailsOver):
    queue = QueueUnderTest(database, database.lane(), await register(database, "json"))
    (token,) = await queue.claimed(new_job(1))
    record = RecordProgress(database)
    database.during = SIGN_OF_LIFE
    with pytest.raises(Unavailable, match="another history"):
        await record.report(Progress(token, 0.5, ""), 60)
    await record()
    assert await database.fetch("SELECT FROM job_progress") == []


async def test_progress_of_a_stream_that_a_failover_ends_is_not_kept_for_the_next_history(
    database: FailsOver, queue: Queue, sessions: Sessions
):
    """The history ends while the stream looks why it has lost another lease."""
    store = QueueUnderTest(database, queue.extend_lane, await register(database, "worker-1", "mine"))
    (token,) = await store.claimed(new_job(1))
    async with sessions.open(HELLO, Peer()) as session:
        database.during = LOST
        await session.progress([Progress(token, 0.5, ""), Progress(Token(999, 1), 0.5, "")])
        await queue.progress()
    assert await database.fetch("SELECT FROM job_progress") == []


@pytest.mark.parametrize("outcome", [Outcome.REMOVED, Outcome.NOT_NOW], ids=lambda outcome: outcome.name)
async def test_pictures_of_another_history_stay_on_the_list(outcome: Outcome, database: FailsOver):
    """While pictures are removed a history may begin in which the same numbers are those of other files."""
    await database.fetch("INSERT INTO removals (path, reported_at) VALUES ('/1.webp', now())")

    class FailsOverMeanwhile:
        def has(self, path: str) -> bool:
            return True

        async def remove(self, removals: Sequence[Removal]) -> dict[int, Outcome]:
            await begin_another_history(database)
            return {removal.id: outcome for removal in removals}

    with pytest.raises(Unavailable, match="another history"):
        await RemovePictures(database, [FailsOverMeanwhile()])()
    assert len(await database.fetch(DUE, 10)) == 1


async def leases(database: Database) -> int:
    return int((await database.fetch("SELECT count(*) FROM leases"))[0][0])


async def test_a_call_that_is_answered_after_a_failover_has_to_be_made_again_and_gives_nothing_back(
    database: FailsOver, queue: Queue
):
    """Its leases would be those of another worker, whose jobs were taken from it."""
    await queue.enqueue([new_job(1)])
    await queue.versions.write([NewVersion(1, 1, new_job(1).model_hash)])
    database.during = OF_JOBS
    with pytest.raises(Unavailable, match="another history"):
        await SingleCalls(queue, PathRule()).dequeue(DequeueJobsRequest(worker_id="json", max_jobs=1))
    await queue.drained()
    assert await leases(database) == 1


async def test_jobs_that_are_to_be_given_back_when_a_history_ends_stay(database: FailsOver, queue: Queue):
    await queue.enqueue([new_job(1)])
    jobs = await queue.dequeue("json", 1, 0)
    history = database.history.version
    await begin_another_history(database)
    queue.release_soon(jobs.tokens(), history)
    await queue.drained()
    assert await leases(database) == 1


async def test_no_jobs_are_claimed_for_sessions_of_a_history_that_is_over(
    monkeypatch: pytest.MonkeyPatch, database: FailsOver, queue: Queue
):
    """The history may end while a claim looks for the jobs of one that broke off."""
    monkeypatch.setattr(dispatcher_module, "_RETRY_SECONDS", 0.01)
    assert not await queue.dequeue("json", 1, 0)
    await queue.enqueue([new_job(1)])
    await database.run(lambda connection: connection.execute("UPDATE queue_head SET identity = 'another'"))
    queue.dispatcher._doubtful_claims.append(7)
    with pytest.raises(Unavailable, match="another history"):
        await queue.dequeue("json", 1, 0)
    assert await leases(database) == 0
