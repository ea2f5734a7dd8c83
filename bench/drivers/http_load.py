"""The requests of JSON workers and producers: `python -m bench.drivers.http_load VERB ADDRESS CONNECTIONS JOBS`.

`work` dequeues and completes JOBS jobs, `enqueue` makes JOBS calls with one job each, `batch` with 1,000 jobs each. The
program speaks only as much HTTP/1.1 as it needs, so it costs little beside the gateway. It prints one JSON object.
"""

import asyncio
import itertools
import json
import sys
import time
from collections.abc import Iterator
from typing import cast

import uvloop

from bench.drivers.program import BATCH
from bench.measure import percentiles


class Connection(asyncio.Protocol):
    """A keep-alive connection with one request at a time."""

    def __init__(self, host: str, more: bytes = b"") -> None:
        """`more`: lines of headers beside those that every request has."""
        self._headers = b"Host: %b\r\n%bContent-Type: application/json\r\n" % (host.encode(), more)
        self._buffer = b""
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self.waits: list[float] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if found and self._answer:
            fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
            length = int(fields.get(b"content-length", 0))
            if len(rest) >= length:
                self._buffer = rest[length:]
                self._answer.set_result((int(head[9:12]), rest[:length]))

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer and not self._answer.done():
            self._answer.set_exception(exc or ConnectionResetError("the connection was closed"))

    async def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Return the status and the body of the answer. Raises ValueError when it is an error."""
        head = b"POST %b HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n"
        self._answer = asyncio.get_running_loop().create_future()
        began = time.monotonic()
        self._transport.write(head % (path.encode(), self._headers, len(body)) + body)
        status, answer = await self._answer
        self.waits.append((time.monotonic() - began) * 1000)
        if status >= 300:
            raise ValueError(f"{path}: {status} {answer[:200]!r}")
        return status, answer


async def work(connection: Connection, numbers: Iterator[int]) -> None:
    """Dequeue and complete, as the documentation of the endpoints shows."""
    outcome = b'{"thumbnailPath":"/var/lib/thumbs/de/bb/debbbb1c","sizeBytes":45678,"width":512,"height":512}'
    for _ in numbers:
        status, body = await connection.post("/api/thumbnail-jobs/dequeue", b'{"workerId":"bench"}')
        if status == 204:
            raise ValueError("there was no job")
        await connection.post(f"/api/thumbnail-jobs/{json.loads(body)['id']}/complete", outcome)


async def enqueue(connection: Connection, numbers: Iterator[int]) -> None:
    """Enqueue one job a call."""
    for number in numbers:
        await connection.post("/api/thumbnail-jobs", b'{"modelId":%d,"modelHash":"%064x"}' % (number, number))


async def batch(connection: Connection, numbers: Iterator[int]) -> None:
    """Enqueue a thousand jobs a call."""
    for number in numbers:
        jobs = [{"modelId": number * BATCH + index, "modelHash": f"{index:064x}"} for index in range(BATCH)]
        await connection.post("/api/thumbnail-jobs", json.dumps({"jobs": jobs}).encode())


async def main(verb: str, address: str, connections: int, jobs: int) -> None:
    """Share the jobs among the connections, and print the figures."""
    host, port = address.rsplit(":", 1)
    loop = asyncio.get_running_loop()
    opened = [
        (await loop.create_connection(lambda: Connection(address), host, int(port)))[1] for _ in range(connections)
    ]
    run = {"work": work, "enqueue": enqueue, "batch": batch}[verb]
    # The first request of each connection is not timed.
    await asyncio.gather(*(run(connection, iter([number])) for number, connection in enumerate(opened, 1)))
    for connection in opened:
        connection.waits.clear()
    numbers = iter(itertools.islice(itertools.count(connections + 1), jobs))
    started = time.monotonic()
    await asyncio.gather(*(run(connection, numbers) for connection in opened))
    seconds = time.monotonic() - started
    waits = sorted(itertools.chain.from_iterable(connection.waits for connection in opened))
    figures = {
        "jobs_per_s": jobs * (BATCH if verb == "batch" else 1) / seconds,
        "requests_per_s": len(waits) / seconds,
        **percentiles(waits, "call_"),
    }
    print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
