"""Messages as a broken or hostile client sends them, and streams whose peer does not read."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc

from thumbq_server.rpc.interceptors.bounds import MIB


def varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


def field(number: int, content: bytes) -> bytes:
    """Return a field with a length, as it stands on the wire."""
    return varint(number << 3 | 2) + varint(len(content)) + content


async def code_of(call: Awaitable[Any]) -> grpc.StatusCode:
    """Return the code with which a call ends."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def memory() -> int:
    """Return the MiB that this process has in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 // MIB


def forget_peak() -> None:
    """Make the kernel count the peak of this process's memory from now on."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_of_memory() -> int:
    """Return the most MiB that this process has had in memory since its peak was forgotten."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) // 1024


@asynccontextmanager
async def watched_loop() -> AsyncIterator[list[float]]:
    """Measure for how long the loop of the server stops; it is the loop of the test as well.

    The time is that of its thread's work: a machine that is busy with others makes no pause longer. As in a server that
    runs alone, what is there before is not looked through for garbage: after some hundred tests that takes long.
    """
    pauses = [0.0]

    async def watch() -> None:
        while True:
            before = time.thread_time()
            await asyncio.sleep(0.002)
            pauses.append(time.thread_time() - before)

    gc.freeze()
    task = asyncio.create_task(watch())
    try:
        yield pauses
    finally:
        task.cancel()
        gc.unfreeze()
