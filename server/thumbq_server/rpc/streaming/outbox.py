"""What a client is sent on its stream: in order, bounded in bytes, and given up when the client does not read."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message

from thumbq_server.rpc.streaming import writing
from thumbq_server.rpc.streaming.writing import UNREAD

# With more than this unsent, the server reads no further messages of the client.
PAUSE_AT = 1024 * 1024
# With more than this unsent, it gives the client up. Jobs come against credits, so that even 100,000 credits fit.
MOST = 32 * 1024 * 1024


class Outbox:
    """Sending never blocks. `give_up` is called once, with the reason, when the client does not read or is gone."""

    def __init__(self, context: Any, give_up: Callable[[str], None]) -> None:
        self._context = context
        self._give_up = give_up
        self._unsent: deque[tuple[Message, int]] = deque()
        self._bytes = 0
        self._writer: asyncio.Task[None] | None = None
        # When the message began that is being sent, if any is, and the timer that looks after it.
        self._began: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        # How many messages were sent in all.
        self.count = 0
        self.relieved = asyncio.Event()

    @property
    def is_full(self) -> bool:
        """Whether the client has to read before the server listens to it again."""
        return self._bytes > PAUSE_AT

    def send(self, message: Message) -> None:
        """Send a message after those before it."""
        if self._closed:
            return
        size = message.ByteSize()
        self.count += 1
        self._unsent.append((message, size))
        self._bytes += size
        if self._bytes > MOST:
            self._fail(UNREAD)
        elif self._writer is None:
            self._writer = asyncio.create_task(self._write())

    async def flushed(self, seconds: float) -> bool:
        """Wait until everything is sent, but no longer than `seconds`. Return whether it is."""
        if self._writer is not None:
            await asyncio.wait([self._writer], timeout=seconds)
        return not self._unsent and self._writer is None

    async def close(self, seconds: float) -> None:
        """Take no more, and drop what is unsent. A message that is being sent gets this many seconds.

        grpc cannot end a call with a status while a message of it is under way.
        """
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        while len(self._unsent) > 1:
            self._unsent.pop()
        if self._writer is not None:
            await asyncio.wait([self._writer], timeout=seconds)
        if self._writer is not None:
            self._writer.cancel()

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._unsent:
                message, size = self._unsent[0]
                self._began = loop.time()
                if self._timer is None and not self._closed:
                    self._timer = loop.call_later(writing.STUCK_SECONDS, self._look)
                await self._context.write(message)
                if not self._unsent:
                    return  # The client was given up meanwhile.
                self._unsent.popleft()
                self._bytes -= size
                self.relieved.set()
        except Exception as error:  # noqa: BLE001 - grpc has many ways to say that the stream is gone
            self._fail(str(error))
        finally:
            self._writer = self._began = None

    def _look(self) -> None:
        """Give the client up when it has not read a message in time.

        One timer looks after all messages: one for each would cost more than most of them.
        """
        self._timer = None
        if self._writer is None or self._began is None:
            return
        loop = asyncio.get_running_loop()
        left = self._began + writing.STUCK_SECONDS - loop.time()
        if left > 0:
            self._timer = loop.call_later(left, self._look)
        else:
            self._writer.cancel()
            if not self._closed:
                self._fail(UNREAD)

    def _fail(self, why: str) -> None:
        self._closed = True
        self._unsent.clear()
        self.relieved.set()
        self._give_up(why)
