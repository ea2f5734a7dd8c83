"""The rules of a worker's session, as its peer sees them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import pytest

from tests.engine.parts import POLICY, LastingComeback, WatchedDatabase, away, running, turns, until
from tests.support.postgres.queue_under_test import QueueUnderTest, new_job, picture
from thumbq_server.domain.columns import Claimed, Report
from thumbq_server.domain.job import LostReason, Token
from thumbq_server.engine.queue import Queue
from thumbq_server.engine.sessions.phase import Phase
from thumbq_server.engine.sessions.registry import TAKEN_OVER, Hello, Sessions
from thumbq_server.engine.sessions.server_messages import LeaseCancelled, SessionOpened, encode
from thumbq_server.engine.sessions.session import Session, SessionTimes
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.reads.leases import HELD
from thumbq_server.storage.statements import Statement


class Peer:
    """A worker that keeps what it is sent."""

    def __init__(self) -> None:
        self.held: list[Token] = []
        self.jobs: list[tuple[int, list[int]]] = []
        self.lost: list[tuple[list[Token], LostReason]] = []
        self.drains = 0
        self.told_before_welcome = 0

    def send_welcome(self, session: Session, held: Sequence[Token]) -> None:
        self.told_before_welcome = len(self.lost) + self.drains
        self.held = list(held)

    def send_jobs(self, number: int, jobs: Claimed) -> None:
        self.jobs.append((number, [job.job_id for job in jobs]))

    def send_lease_lost(self, tokens: Sequence[Token], reason: LostReason) -> None:
        self.lost.append((list(tokens), reason))

    def send_drain(self, reconnect_after: float) -> None:
        self.drains += 1


@pytest.fixture
def seen() -> list[int]:
    """Sessions whose workers gave a sign of life."""
    return []


@pytest.fixture
def sessions(watched: WatchedDatabase, queue: Queue, seen: list[int]) -> Sessions:
    return Sessions(watched, queue, SessionTimes(), seen.append)


@pytest.fixture
def peer() -> Peer:
    return Peer()


def phase_of(session: Session) -> Phase:
    return session.phase


def hello(session_id: str = "") -> Hello:
    return Hello("worker-1", session_id, "1.0", {})


@pytest.fixture
async def session(sessions: Sessions, peer: Peer) -> AsyncIterator[Session]:
    async with sessions.open(hello("mine"), peer) as session:
        yield session


async def test_a_working_session_gets_jobs_for_its_credits(session: Session, peer: Peer, queue: Queue):
    assert phase_of(session) is Phase.WORKING
    session.add_credits(2)
    answers = await queue.enqueue([new_job(model) for model in (1, 2, 3)])
    await until(lambda: sum(len(jobs) for _, jobs in peer.jobs) == 2)
    assert [job for _, jobs in peer.jobs for job in jobs] == [answer.job_id for answer in answers[:2]]


async def test_a_draining_session_gets_no_more_jobs(session: Session, peer: Peer, queue: Queue, others: QueueUnderTest):
    session.add_credits(2)
    session.drain(0)
    assert (session.phase, peer.drains) == (Phase.DRAINING, 1)
    session.add_credits(2)
    [answer] = await queue.enqueue([new_job(1)])
    assert (await others.status(answer.job_id), peer.jobs) == ("Pending", [])


async def test_a_session_that_finishes_closes_when_its_last_result_is_committed(
    session: Session, peer: Peer, queue: Queue, others: QueueUnderTest
):
    session.add_credits(1)
    [answer] = await queue.enqueue([new_job(1)])
    await until(lambda: peer.jobs)
    token = Token(answer.job_id, (await others.job(answer.job_id)).lease_seq)
    session.finish()
    assert phase_of(session) is Phase.DRAINING
    assert await session.report(Report([picture(token)], [], [])) == []
    await session.closing.wait()
    assert phase_of(session) is Phase.CLOSING


@pytest.mark.sessions("a pooler answers for a database that is away, in a time of its own")
async def test_a_result_is_committed_as_soon_as_any_part_has_reached_postgresql_again(
    postgres: str, database_url: str, peer: Peer
):
    async with Database(database_url) as database:
        database.history.comeback = comeback = LastingComeback()
        queue = Queue(database, policy=POLICY, unary_lease_seconds=600)
        async with AsyncExitStack() as stack:
            _ = await stack.enter_async_context(running(queue.dispatcher.run()))
            sessions = Sessions(database, queue, SessionTimes(), lambda _: None)
            session = await stack.enter_async_context(sessions.open(hello("mine"), peer))
            [answer] = await queue.enqueue([new_job(1)])
            session.add_credits(1)
            await until(lambda: peer.jobs)
            others = QueueUnderTest(database, database.lane(), 0)
            token = Token(answer.job_id, (await others.job(answer.job_id)).lease_seq)
            async with away(postgres, database_url):
                reporting = asyncio.create_task(session.report(Report([picture(token)], [], [])))
                await until(lambda: comeback.pauses)
            await database.lane().fetch("SELECT 1")
            async with asyncio.timeout(30):
                assert await reporting == []
            assert await others.status(answer.job_id) == "Completed"


async def test_a_session_never_goes_back_to_an_earlier_phase(session: Session):
    session.close()
    session.drain(0)
    assert phase_of(session) is Phase.CLOSING
    session.end()
    session.drain(0)
    session.close()
    assert phase_of(session) is Phase.ENDED


async def test_the_first_reason_for_sending_a_worker_away_stays(session: Session):
    session.send_away("one")
    session.send_away("two")
    assert (session.phase, session.sent_away_because) == (Phase.CLOSING, "one")


async def test_a_session_that_is_sent_away_while_its_results_wait_does_not_wait_for_them_long(session: Session):
    async def wait_for_postgresql() -> None:
        await asyncio.Event().wait()

    session.spawn(wait_for_postgresql())
    session.close()
    settling = asyncio.create_task(session.settled())
    await turns()
    session.send_away("a newer stream has taken over")
    async with asyncio.timeout(session._times.lease / 2):
        await settling


async def test_jobs_that_never_arrived_go_back_unspent(
    sessions: Sessions, peer: Peer, queue: Queue, others: QueueUnderTest
):
    async with sessions.open(hello(), peer) as session:
        session.add_credits(1)
        [arrived] = await queue.enqueue([new_job(1)])
        await until(lambda: len(peer.jobs) == 1)
        session.confirm(1)
        session.add_credits(1)
        [lost] = await queue.enqueue([new_job(2)])
        await until(lambda: len(peer.jobs) == 2)
    await queue.drained()
    job = await others.job(lost.job_id)
    assert (job.status, job.attempt_count) == ("Pending", 0)
    assert await others.status(arrived.job_id) == "Processing"


async def test_any_number_of_jobs_that_never_arrived_go_back_unspent(
    sessions: Sessions, peer: Peer, queue: Queue, others: QueueUnderTest
):
    ids = await others.enqueued(*[new_job(model) for model in range(1, 2501)])
    async with sessions.open(hello(), peer) as session:
        session.add_credits(2500)
        await until(lambda: sum(len(jobs) for _, jobs in peer.jobs) == 2500)
    await queue.drained()
    back = "SELECT count(*) FROM job_states WHERE status = 'Pending' AND attempt_count = 0"
    assert (await others.sql(back))[0][0] == len(ids)


async def test_a_worker_that_reports_each_job_and_confirms_none_leaves_nothing_behind(
    watched: WatchedDatabase, queue: Queue, peer: Peer, others: QueueUnderTest
):
    (job_id,) = await others.enqueued(new_job(1))
    sessions = Sessions(watched, queue, SessionTimes(delivery_lease=0))
    async with sessions.open(hello(), peer) as session:
        for count in range(1, 51):
            session.add_credits(1)
            await until(partial(has_jobs, peer, count))
            await session.report(Report([], [], [Token(job_id, (await others.job(job_id)).lease_seq)]))
        assert len(session._deliveries.unreceived()) == 1


def has_jobs(peer: Peer, count: int) -> bool:
    return len(peer.jobs) == count


async def test_a_heartbeat_is_a_sign_of_life_and_learns_of_lost_leases(
    session: Session, peer: Peer, seen: list[int], others: QueueUnderTest
):
    (token,) = await others.claimed(new_job(1))
    await others.cancel(token.job_id)
    await session.heartbeat([token])
    assert peer.lost == [([token], LostReason.CANCELLED)]
    assert seen == [session.number]


async def test_a_newer_stream_on_this_server_takes_over_when_the_older_has_ended(sessions: Sessions):
    async with AsyncExitStack() as older_stream:
        older = await older_stream.enter_async_context(sessions.open(hello("mine"), Peer()))
        newer_stream = sessions.open(hello("mine"), Peer())

        async def end_when_closing() -> None:
            await older.closing.wait()
            await older_stream.aclose()

        ending = asyncio.create_task(end_when_closing())
        async with newer_stream as newer:
            await ending
            assert (older.phase, older.sent_away_because) == (Phase.ENDED, TAKEN_OVER)
            assert newer.phase is Phase.WORKING


async def test_a_newer_stream_on_another_server_sends_the_older_away(session: Session, sessions: Sessions):
    sessions.on_broadcast(encode(SessionOpened(session.number, session.stream_id)))
    assert phase_of(session) is Phase.WORKING, "that is its own message"
    sessions.on_broadcast(encode(SessionOpened(session.number, "another")))
    assert session.sent_away_because == TAKEN_OVER


async def test_a_cancellation_on_another_server_reaches_the_worker(session: Session, sessions: Sessions, peer: Peer):
    sessions.on_broadcast(encode(LeaseCancelled(session.number, Token(7, 3))))
    assert peer.lost == [([Token(7, 3)], LostReason.CANCELLED)]


class Interrupted(Database):
    """A database that has something happen while it answers which leases a session holds."""

    meanwhile: Callable[[], None]

    async def fetch(self, statement: Statement | str, *arguments: object, **options: Any) -> list[Any]:
        rows = await super().fetch(statement, *arguments, **options)
        if statement is HELD:
            self.meanwhile()
            await turns()
        return rows


async def test_a_worker_is_told_nothing_before_its_welcome(database: Database, peer: Peer):
    async with Interrupted(database.dsn) as interrupted, asyncio.TaskGroup() as tasks:
        sessions = Sessions(interrupted, Queue(interrupted, policy=POLICY, unary_lease_seconds=600), SessionTimes())

        def a_job_is_cancelled_and_the_server_stops() -> None:
            [number] = sessions._open
            sessions.on_broadcast(encode(LeaseCancelled(number, Token(7, 3))))
            tasks.create_task(sessions.drain(reconnect_after=0.5, grace=30))

        interrupted.meanwhile = a_job_is_cancelled_and_the_server_stops
        async with sessions.open(hello(), peer):
            assert (peer.told_before_welcome, peer.drains) == (0, 1)


async def test_messages_that_are_for_others_or_unknown_are_ignored(session: Session, sessions: Sessions, peer: Peer):
    for payload in (encode(SessionOpened(session.number + 1, "another")), "paused/3 all", "", "session 1 2 3 4"):
        sessions.on_broadcast(payload)
    assert (session.phase, peer.lost) == (Phase.WORKING, [])


async def test_a_session_that_opens_while_the_server_drains_is_asked_to_go(sessions: Sessions, peer: Peer):
    await sessions.drain(reconnect_after=0.5, grace=1)
    async with sessions.open(hello(), peer) as session:
        assert (session.phase, peer.drains) == (Phase.DRAINING, 1)
