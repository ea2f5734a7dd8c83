"""A line between a client and the gateway. It can go dead without an end, as lost Wi-Fi does."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self


class Line:
    """Forwards bytes between its own port and another."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._streams: set[asyncio.StreamWriter] = set()  # those of connections with a notification stream
        self._dead: set[asyncio.StreamWriter] = set()
        self._is_cut = False
        self.port = 0

    @classmethod
    @asynccontextmanager
    async def to(cls, target: int) -> AsyncIterator[Self]:
        """Run a line to this port of 127.0.0.1 until the block ends."""
        line = cls(target)
        server = await asyncio.start_server(line._accept, "127.0.0.1", 0)
        line.port = server.sockets[0].getsockname()[1]
        try:
            yield line
        finally:
            server.close()
            for writer in line._writers:
                writer.transport.abort()
            await asyncio.gather(*line._tasks)

    def go_dead(self) -> None:
        """Stop forwarding the present streams without ending them. Other connections break until `mend`."""
        self._is_cut = True
        self._dead |= self._streams
        for writer in self._writers - self._dead:
            writer.transport.abort()

    def mend(self) -> None:
        """Accept new connections again."""
        self._is_cut = False

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        if self._is_cut:
            writer.transport.abort()
            return
        try:
            beyond_reader, beyond = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers.add(beyond)
        for source, sink in ((reader, beyond), (beyond_reader, writer)):
            task = asyncio.create_task(self._pass_on(source, sink, {writer, beyond}))
            self._tasks.add(task)

    async def _pass_on(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, both: set[asyncio.StreamWriter]
    ) -> None:
        with contextlib.suppress(ConnectionError):
            while piece := await source.read(65_536):
                if piece.startswith(b"GET /api/notifications?"):
                    self._streams |= both
                if sink not in self._dead:
                    sink.write(piece)
                    await sink.drain()
        if sink not in self._dead:
            sink.close()
