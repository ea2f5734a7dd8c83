"""A host of PostgreSQL that stops answering and breaks no connection off."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from thumbq_server.storage.postgres.address import parse_address


class FreezingHost:
    """A host in front of PostgreSQL that freezes: connections stay, also new ones, and nothing is answered."""

    def __init__(self, socket: str) -> None:
        self._socket = socket
        self._writers: list[asyncio.StreamWriter] = []
        self.port = 0
        self.frozen = False
        # All that clients have sent.
        self.asked = bytearray()

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        beyond_reader, beyond = await asyncio.open_unix_connection(self._socket)
        self._writers += [writer, beyond]
        await asyncio.gather(
            self._pass_on(reader, beyond, self.asked), self._pass_on(beyond_reader, writer, bytearray())
        )

    async def _pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, seen: bytearray) -> None:
        try:
            while piece := await source.read(65_536):
                seen += piece
                if not self.frozen:
                    sink.write(piece)
        except ConnectionError:
            pass
        finally:
            sink.close()

    def close(self) -> None:
        for writer in self._writers:
            writer.close()


@asynccontextmanager
async def freezing_host(database_url: str) -> AsyncIterator[FreezingHost]:
    """Put a host that can freeze in front of a database, on the port that it has."""
    ((folder, port),) = parse_address(database_url).hosts
    host = FreezingHost(f"{folder}/.s.PGSQL.{port}")
    server = await asyncio.start_server(host.take, "127.0.0.1", 0)
    host.port = server.sockets[0].getsockname()[1]
    yield host
    server.close()
    host.close()
