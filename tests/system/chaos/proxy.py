"""A TCP proxy between two parts of a run, which can cut, slow down or silently swallow what it carries."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Coroutine
from pathlib import Path

# A port of this machine, or a unix socket.
Target = int | Path
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Link:
    """Listens on a port of its own and carries bytes to one of its targets.

    With several targets each new connection goes to the next one that answers, as behind a load balancer.
    """

    def __init__(self, name: str, *targets: Target) -> None:
        self.name = name
        self._targets = targets
        self._turn = 0
        self._pass = asyncio.Event()
        self._pass.set()
        self._delay = 0.0
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._server: asyncio.Server | None = None
        self._carried: dict[asyncio.Task[None], Target] = {}
        self._waiting: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._listening.getsockname()[1]}"

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._accept, sock=self._listening)

    def reaches(self, target: Target) -> bool:
        """Whether a connection to the target is open."""
        return target in self._carried.values()

    def cut(self) -> None:
        """Break all connections; data in flight is lost."""
        for connection in (*self._carried, *self._waiting):
            connection.cancel()

    def slow_down(self, delay: float) -> None:
        """Delay every piece of data by `delay` seconds, in both directions; 0 ends that."""
        self._delay = delay

    def fall_silent(self) -> None:
        """Accept data and new connections, and deliver nothing."""
        self._pass.clear()

    def speak(self) -> None:
        """End the silence: deliver the data that was held back, unless the link was cut meanwhile."""
        self._pass.set()

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self._listening.close()
        left = (*self._carried, *self._waiting)
        self.cut()
        await asyncio.gather(*left, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        ends = [writer]
        self._waiting.add(task)
        try:
            await self._pass.wait()
            self._carried[task], far_reader, far_writer = await self._connect()
            self._waiting.discard(task)
            ends.append(far_writer)
            await _first(self._carry(reader, far_writer), self._carry(far_reader, writer))
            for end in ends:
                end.close()
        except (OSError, asyncio.CancelledError):
            for end in ends:
                _reset(end)
        finally:
            self._waiting.discard(task)
            self._carried.pop(task, None)

    async def _connect(self) -> tuple[Target, asyncio.StreamReader, asyncio.StreamWriter]:
        for _ in self._targets:
            target = self._targets[self._turn % len(self._targets)]
            self._turn += 1
            with contextlib.suppress(OSError):
                if isinstance(target, Path):
                    return (target, *await asyncio.open_unix_connection(str(target)))
                return (target, *await asyncio.open_connection("127.0.0.1", target))
        raise ConnectionRefusedError

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry data until the sender closes. None of our protocols uses half-closed connections."""
        while data := await reader.read(65536):
            if self._delay:
                await asyncio.sleep(self._delay)
            await self._pass.wait()
            writer.write(data)
            await writer.drain()


class Links:
    """The links to several hosts that hold the same data: a client takes the first that answers."""

    def __init__(self, *links: Link) -> None:
        self.all = links

    @property
    def first(self) -> Link:
        return self.all[0]

    @property
    def address(self) -> str:
        return ",".join(link.address for link in self.all)

    def reaches(self, target: Target) -> bool:
        return any(link.reaches(target) for link in self.all)

    def cut(self) -> None:
        for link in self.all:
            link.cut()

    def slow_down(self, delay: float) -> None:
        for link in self.all:
            link.slow_down(delay)

    def fall_silent(self) -> None:
        for link in self.all:
            link.fall_silent()

    def speak(self) -> None:
        for link in self.all:
            link.speak()


async def _first(*ways: Coroutine[None, None, None]) -> None:
    """Run all until one ends; raise its exception, if it has one."""
    tasks = [asyncio.create_task(way) for way in ways]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _reset(writer: asyncio.StreamWriter) -> None:
    if (end := writer.get_extra_info("socket")) is not None and end.family != socket.AF_UNIX:
        with contextlib.suppress(OSError):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    writer.transport.abort()
