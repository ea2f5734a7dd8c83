"""The sessions that are open on one server, and what other servers say about them."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import NamedTuple

from thumbq_server.domain.job import LostReason
from thumbq_server.domain.kinds import check_kinds
from thumbq_server.domain.requests import check_labels, check_session_id, check_version, check_worker_id
from thumbq_server.engine.queue import Queue
from thumbq_server.engine.sessions import server_messages
from thumbq_server.engine.sessions.returns import Returns
from thumbq_server.engine.sessions.server_messages import LeaseCancelled, SessionOpened
from thumbq_server.engine.sessions.session import CLOSE_SECONDS, Peer, Session, SessionTimes
from thumbq_server.storage import workers
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.notify import broadcast

OTHER_HISTORY = "the database has another history: a backup was restored, or another primary has taken over"
TAKEN_OVER = "a newer stream of this session has taken over"


class Hello(NamedTuple):
    """What a worker says of itself. Session "" is a new one."""

    worker_id: str
    session_id: str
    version: str
    labels: Mapping[str, str]
    kinds: Sequence[str] = ()


class Sessions:
    """One stream serves a session at a time: a newer one takes over, on whatever server it is."""

    def __init__(
        self,
        database: Database,
        queue: Queue,
        times: SessionTimes,
        on_heartbeat: Callable[[int], None] = lambda _: None,
    ) -> None:
        """`on_heartbeat` gets the number of the session."""
        self._database = database
        self._queue = queue
        self.times = times
        self._on_heartbeat = on_heartbeat
        self._open: dict[int, Session] = {}
        self._returns = Returns()
        self._draining = False
        database.history.on_change(self._forget)

    @contextlib.asynccontextmanager
    async def open(self, hello: Hello, peer: Peer, caller: str = "") -> AsyncIterator[Session]:
        """Serve a session until the block ends; its jobs count for `caller`. Raises Invalid, Unavailable."""
        worker_id = check_worker_id(hello.worker_id)
        name = check_session_id(hello.session_id) or uuid.uuid4().hex
        version, labels = check_version(hello.version), check_labels(hello.labels)
        kinds = check_kinds(hello.kinds)
        history = self._database.history
        known = history.version
        number = await workers.register(self._database, worker_id, name, version, labels)
        while older := self._open.get(number):
            older.send_away(TAKEN_OVER)
            await older.ended.wait()
        history.check(known)
        with self._queue.dispatchers.of(kinds) as dispatcher, self._queue.in_flight.of(caller) as holder:
            session = Session(
                self._database,
                self._queue,
                self.times,
                peer,
                number=number,
                worker_id=worker_id,
                name=name,
                on_heartbeat=self._on_heartbeat,
                returns=self._returns,
                dispatcher=dispatcher,
                holder=holder,
            )
            self._open[number] = session
            try:
                # The older stream may be another server's.
                opened = SessionOpened(number, session.stream_id)
                await broadcast(self._database, [server_messages.encode(opened)], history=known)
                await session.welcome()
                if self._draining:
                    session.drain(0)
                yield session
            finally:
                del self._open[number]
                session.end()

    def _forget(self) -> None:
        """Send all away, since the history is over that they belong to."""
        self._returns.forget()
        for session in list(self._open.values()):
            session.send_away(OTHER_HISTORY)

    def on_broadcast(self, payload: str) -> None:
        """Take in what a server told all servers."""
        message = server_messages.parse(payload)
        session = self._open.get(message.session) if message is not None else None
        if session is None:
            return
        match message:
            case SessionOpened(_, stream_id) if stream_id != session.stream_id:
                session.send_away(TAKEN_OVER)
            case LeaseCancelled(_, token):
                session.lose([token], LostReason.CANCELLED)

    async def drain(self, reconnect_after: float, grace: float) -> None:
        """Ask every worker to finish and go; after `grace` seconds send the rest away.

        Return when all have gone. One whose stream begins while PostgreSQL is silent cannot go, and is not waited for.
        """
        self._draining = True
        for session in self._open.values():
            # The others are asked after their Welcome.
            if session.is_welcome:
                session.drain(reconnect_after)
        await self._all_gone(grace)
        for session in list(self._open.values()):
            session.send_away("the server is going away")
        await self._all_gone(2 * CLOSE_SECONDS)

    async def _all_gone(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._open:
                    await next(iter(self._open.values())).ended.wait()
