"""The floods, in a process of their own: `python -m bench.flood.floods NAME HTTP GRPC`. A signal ends it."""

import asyncio
import json
import socket
import sys
from collections.abc import Awaitable, Callable, Coroutine

import aiohttp
import grpc

from thumbq.v1.queue_pb2 import StreamJobsRequest
from thumbq.v1.queue_pb2_grpc import QueueServiceStub

SOURCE = "127.0.0.2"  # the good callers come from 127.0.0.1
_HEAD = "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {type}\r\n"
_JSON = "application/json"
PICTURE = {"thumbnailPath": "/var/lib/thumbq/1.png", "sizeBytes": 1, "width": 1, "height": 1}
_FORM = "multipart/form-data; boundary=b"
_PART = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
_DEQUEUE = "/api/thumbnail-jobs/dequeue"
_MEBIBYTE = b" " * (1 << 20)
# The last: a call was ended by the server, and its stream is written to.
_ENDS = (
    *(OSError, aiohttp.ClientError, asyncio.IncompleteReadError, grpc.aio.AioRpcError),
    asyncio.InvalidStateError,
)
Flood = Callable[[str, str], Coroutine[None, None, None]]


async def _connect(http: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = http.rpartition(":")
    return await asyncio.open_connection(host, int(port), local_addr=(SOURCE, 0))


async def _many(count: int, one: Callable[[int], Awaitable[None]]) -> None:
    """Run `one` for ever in many tasks; whatever ends, by an error too, begins again."""

    async def again(number: int) -> None:
        while True:
            try:
                await one(number)
            except _ENDS:
                await asyncio.sleep(0.05)

    await asyncio.gather(*(again(number) for number in range(count)))


async def slow_openings(http: str, _grpc: str) -> None:
    """500 connections send the head of a request, a byte each second."""

    async def one(_number: int) -> None:
        _, writer = await _connect(http)
        for byte in _HEAD.format(path=_DEQUEUE, host=http, type=_JSON):
            writer.write(byte.encode())
            await writer.drain()
            await asyncio.sleep(1)

    await _many(500, one)


async def idle_connections(http: str, _grpc: str) -> None:
    """2,000 connections send nothing."""

    async def one(_number: int) -> None:
        reader, _writer = await _connect(http)
        await reader.read()

    await _many(2_000, one)


def _session(http: str) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(limit=0, local_addr=(SOURCE, 0))
    return aiohttp.ClientSession(f"http://{http}", connector=connector)


async def pollers(http: str, _grpc: str) -> None:
    """100 workers ask for jobs without a pause, and ignore Retry-After. Those that get a job complete it at once."""
    async with _session(http) as session:

        async def one(number: int) -> None:
            async with session.post(_DEQUEUE, json={"workerId": f"greedy-{number}"}) as answer:
                body = await answer.read()
            if answer.status == 200:
                path = f"/api/thumbnail-jobs/{json.loads(body)['id']}/complete"
                async with session.post(path, json=PICTURE) as answer:
                    await answer.read()

        await _many(100, one)


async def long_polls(http: str, _grpc: str) -> None:
    """1,000 callers wait for the end of a job that is not due before tomorrow."""
    async with _session(http) as session:
        job = {"modelId": 1, "modelHash": "a" * 64, "delay": "86400s"}
        async with session.post("/api/thumbnail-jobs", json=job) as answer:
            path = f"/api/thumbnail-jobs/{(await answer.json())['jobId']}?wait=20s"

        async def one(_number: int) -> None:
            async with session.get(path) as answer:
                await answer.read()

        await _many(1_000, one)


async def _send(http: str, path: str, kind: str, first: bytes, size: int) -> None:
    reader, writer = await _connect(http)
    length = f"Content-Length: {len(first) + size}\r\n\r\n"
    writer.write((_HEAD.format(path=path, host=http, type=kind) + length).encode() + first)
    for _ in range(size >> 20):
        writer.write(_MEBIBYTE)
        await writer.drain()
    await reader.read(1000)
    writer.close()


async def big_bodies(http: str, _grpc: str) -> None:
    """20 callers send bodies of 3 MiB."""
    await _many(20, lambda _number: _send(http, "/api/thumbnail-jobs", _JSON, b"", 3 << 20))


async def upload_of_4_gb(http: str, _grpc: str) -> None:
    """One caller uploads 4 GB as a picture."""
    await _many(1, lambda _number: _send(http, "/models/1/thumbnail/upload", _FORM, _PART, 4 << 30))


async def unread_streams(http: str, _grpc: str) -> None:
    """50 pages subscribe, and 50 callers ask for lists; none reads what it is sent."""

    async def one(number: int) -> None:
        host, _, port = http.rpartition(":")
        greedy = socket.socket()
        greedy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        greedy.setblocking(False)
        greedy.bind((SOURCE, 0))
        loop = asyncio.get_running_loop()
        await loop.sock_connect(greedy, (host, int(port)))
        path = "/api/notifications" if number % 2 else "/api/thumbnail-jobs?pageSize=500"
        request = f"GET {path} HTTP/1.1\r\nHost: {http}\r\n\r\n".encode()
        await loop.sock_sendall(greedy, request if number % 2 else request * 100)
        await asyncio.sleep(60)

    await _many(100, one)


async def streams(http: str, grpc_address: str) -> None:
    """1,000 pages and 1,000 workers hold streams; the workers want no job."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.aio.insecure_channel(grpc_address, options=options) for _ in range(20)]

    async def page(_number: int) -> None:
        reader, writer = await _connect(http)
        writer.write(f"GET /api/notifications HTTP/1.1\r\nHost: {http}\r\n\r\n".encode())
        while await reader.read(65536):
            pass

    async def worker(number: int) -> None:
        stream = QueueServiceStub(channels[number % len(channels)]).StreamJobs()
        await stream.write(StreamJobsRequest(hello=StreamJobsRequest.Hello(worker_id=f"idle-{number}")))
        while True:
            await asyncio.sleep(3)
            await stream.write(StreamJobsRequest(heartbeat=StreamJobsRequest.Heartbeat()))

    await asyncio.gather(_many(1_000, page), _many(1_000, worker))


FLOODS: dict[str, Flood] = {
    flood.__name__: flood
    for flood in (
        slow_openings,
        idle_connections,
        pollers,
        long_polls,
        big_bodies,
        unread_streams,
        upload_of_4_gb,
        streams,
    )
}

if __name__ == "__main__":
    name, http_address, grpc_target = sys.argv[1:]
    asyncio.run(FLOODS[name](http_address, grpc_target))
