"""One client of a hub: its handshake, its calls, and what is sent to it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator

from thumbq_gateway.http.errors import Refusal
from thumbq_gateway.http.limited_log import LimitedLog
from thumbq_gateway.metrics import CutOff, HubMetrics
from thumbq_gateway.signalr.hubs.hub import Hub, Refused
from thumbq_gateway.signalr.outlets import Outlet
from thumbq_gateway.signalr.protocol import (
    HANDSHAKE_DONE,
    LARGEST_MESSAGE,
    PING,
    SEPARATOR,
    Invocation,
    MessageType,
    ProtocolError,
    Record,
    check_handshake,
    closing,
    completion,
    handshake_refused,
    read_invocation,
    read_message,
)
from thumbq_gateway.signalr.rights import Rights
from thumbq_runtime.limits.bounds import Place

_LOOK_AGAIN = 0.02  # seconds
_PIECE = 50  # records of one message that are taken before others run; more than these count as a call

log = LimitedLog()


class Connection:
    """Written by its handler, by its hub, and by the clock of all connections. There may be thousands."""

    __slots__ = (
        *("_admit", "_buffer_limit", "_metrics", "_rest", "ended", "groups", "heard_at", "hub", "id", "is_open"),
        *("models", "outlet", "place", "rights"),
    )

    def __init__(
        self,
        connection_id: str,
        hub: Hub,
        outlet: Outlet,
        place: Place,
        admit: Callable[[], Awaitable[None]],
        metrics: HubMetrics,
        buffer_limit: int,
        rights: Rights,
    ) -> None:
        """A client with more than `buffer_limit` bytes unread is cut off. `rights` are those that it was opened with.

        `place` is given up when it leaves. `admit` counts a call, and raises Refusal when there are too many.
        """
        self._admit = admit
        self.rights = rights
        self.models = rights.models
        self.id = connection_id
        self.hub = hub
        self.outlet = outlet
        self.place = place
        self.groups: set[str] = set()  # written by the hub
        self.is_open = False  # whether the handshake is done
        self.ended = False
        self.heard_at = time.monotonic()
        self._metrics = metrics
        self._buffer_limit = buffer_limit
        self._rest = ""

    async def take(self, text: str) -> None:
        """Take text from the client: each record is answered before the next one is read.

        A message may have thousands of records, and many messages may have come already.
        """
        await asyncio.sleep(0)
        self.hear()
        text = self._rest + text
        self._rest = text[text.rfind(SEPARATOR) + 1 :]
        try:
            for number, record in enumerate(_records(text), 1):
                if self.ended:
                    return
                if number % _PIECE == 0:
                    await asyncio.sleep(0)
                    await self._admit()
                _check_size(record)
                await self._take(record)
                self.hear()  # it may have waited long for its own call
            _check_size(self._rest)
        except ProtocolError as error:
            self.end(closing(str(error)) if self.is_open else handshake_refused(str(error)))
        except Refusal as too_often:
            self.end(closing(too_often.message, allow_reconnect=True))

    def hear(self) -> None:
        """Note that the client is there."""
        self.heard_at = time.monotonic()

    def send(self, record: Record) -> None:
        """Send a record, or cut off a client that does not read."""
        if self.ended:
            return
        if self.outlet.unread > self._buffer_limit:
            self.cut_off(CutOff.UNREAD)
        else:
            self.outlet.write(record)

    async def drained(self) -> None:
        """Wait until the client has read most of the records before, so that a long answer does not cut it off.

        A client that reads on is there.
        """
        unread = self.outlet.unread
        while not self.ended and unread > self._buffer_limit // 2:
            await asyncio.sleep(_LOOK_AGAIN)  # a transport has no event
            before, unread = unread, self.outlet.unread
            if unread < before:
                self.hear()

    def ping(self) -> None:
        """Tell the client that the line is alive."""
        if self.is_open:
            self.send(PING)

    def end(self, last: Record | None = None) -> None:
        """End in order, with a last record. The client comes back only when that record allows it."""
        if not self.ended:
            if last:
                self.outlet.write(last)
            self.ended = True
            self.outlet.end()

    def cut_off(self, reason: CutOff) -> None:
        """Drop a client that does not read or has fallen silent; it comes back when it can."""
        if not self.ended:
            self.ended = True
            log.warning("hub.cut_off", hub=self.hub.path, peer=self.outlet.peer, reason=reason)
            self._metrics.cut_off.labels(reason).inc()
            self.outlet.abort()

    async def _take(self, record: str) -> None:
        if not self.is_open:
            check_handshake(record)
            self.is_open = True
            self.outlet.write(HANDSHAKE_DONE)
            return
        kind, message = read_message(record)
        if kind == MessageType.INVOCATION:
            await self._call(read_invocation(message))
        elif kind == MessageType.STREAM_INVOCATION:
            call = read_invocation(message)
            self._answer(call, f"'{call.target[:100]}' is not a streaming method.")
        elif kind == MessageType.CLOSE:
            self.end()
        # `hear` has noted a ping already; messages of a later version of the protocol are passed over

    async def _call(self, call: Invocation) -> None:
        self._metrics.calls.labels(self.hub.path).inc()
        try:
            await self._admit()
            await self.hub.call(self, call.target, call.arguments)
        except Refusal as too_often:
            self._answer(call, too_often.message)
        except Refused as refused:
            self._answer(call, str(refused))
        else:
            self._answer(call)

    def _answer(self, call: Invocation, error: str | None = None) -> None:
        if call.id is not None:
            self.send(completion(call.id, error))


def _records(text: str) -> Iterator[str]:
    """Yield what stands before each separator. All records at once would take many times the memory of the text."""
    start = 0
    while (end := text.find(SEPARATOR, start)) >= 0:
        yield text[start:end]
        start = end + 1


def _check_size(record: str) -> None:
    if len(record) > LARGEST_MESSAGE:
        raise ProtocolError("A message is too large.")
