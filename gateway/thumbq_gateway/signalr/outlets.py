"""The ways from the gateway to a client: WebSocket, server-sent events, long poll. Writing never waits."""

import asyncio
from typing import Protocol

from aiohttp import WSCloseCode, web

from thumbq_gateway.signalr.protocol import Record

_closing: set[asyncio.Task[bool]] = set()  # the loop itself keeps no task alive


class Outlet(Protocol):
    """The way out to one client."""

    @property
    def unread(self) -> int:
        """Bytes that the client has not taken yet."""

    @property
    def peer(self) -> object:
        """Whose address it is, for the log."""

    def write(self, record: Record) -> None:
        """Send a record."""

    def end(self) -> None:
        """End the connection in order, after the records before."""

    def abort(self) -> None:
        """End the connection at once."""


class WebSocketOutlet:
    """Writes frames to the transport of a WebSocket, past aiohttp's writer, which encodes for each client."""

    __slots__ = ("_socket", "_transport")

    def __init__(self, socket: web.WebSocketResponse, transport: asyncio.WriteTransport) -> None:
        self._socket = socket
        self._transport = transport

    @property
    def unread(self) -> int:
        """Bytes that the kernel has not taken yet."""
        return self._transport.get_write_buffer_size()

    @property
    def peer(self) -> object:
        """The address at the other end."""
        return self._transport.get_extra_info("peername")

    def write(self, record: Record) -> None:
        """Send a record."""
        if not self._transport.is_closing():
            self._transport.write(record.frame)

    def end(self) -> None:
        """Send a close frame; the handler's loop ends with it."""
        task = asyncio.create_task(self._socket.close(code=WSCloseCode.OK))
        _closing.add(task)
        task.add_done_callback(_closing.discard)

    def abort(self) -> None:
        """Drop the connection."""
        self._transport.abort()


class EventStreamOutlet:
    """Writes events to the transport of a response whose handler waits for `ended`."""

    __slots__ = ("_transport", "ended")

    def __init__(self, transport: asyncio.WriteTransport) -> None:
        self._transport = transport
        self.ended = asyncio.Event()

    @property
    def unread(self) -> int:
        """Bytes that the kernel has not taken yet."""
        return self._transport.get_write_buffer_size()

    @property
    def peer(self) -> object:
        """The address at the other end."""
        return self._transport.get_extra_info("peername")

    def write(self, record: Record) -> None:
        """Send a record."""
        if not self._transport.is_closing():
            self._transport.write(record.event)

    def end(self) -> None:
        """Let the handler finish the response."""
        self.ended.set()

    def abort(self) -> None:
        """Drop the connection."""
        self.ended.set()
        self._transport.abort()


class PollOutlet:
    """Keeps records until the client polls. A newer poll ends the one before."""

    __slots__ = ("_changed", "_turn", "ended", "peer", "polling", "records", "unread")

    def __init__(self, peer: object) -> None:
        self.peer = peer
        self.records: list[bytes] = []
        self.unread = 0
        self.ended = False
        self.polling = False
        self._turn = 0
        self._changed = asyncio.Event()

    def write(self, record: Record) -> None:
        """Keep a record for the next answer."""
        self.records.append(record.payload)
        self.unread += len(record.payload)
        self._changed.set()

    def end(self) -> None:
        """Let the client take the records that are there, and end."""
        self.ended = True
        self._changed.set()

    abort = end

    async def take(self, seconds: float) -> bytes | None:
        """Wait for records and return them. None: no more will come, or a newer poll has taken over."""
        self._turn += 1
        turn = self._turn
        self._changed.set()  # ends the poll before
        await asyncio.sleep(0)
        self.polling = True
        try:
            async with asyncio.timeout(seconds):
                while turn == self._turn and not self.records and not self.ended:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return b""
        finally:
            self.polling = turn != self._turn
        if turn != self._turn or (self.ended and not self.records):
            return None
        taken, self.records, self.unread = b"".join(self.records), [], 0
        return taken
