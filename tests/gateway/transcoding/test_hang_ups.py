"""Callers that hang up at any moment take no job with them, and end no other caller's call."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NamedTuple

import aiohttp
import grpc

from tests.gateway.transcoding.test_together import DEQUEUE, JOBS, MANY, RESULT, locked
from tests.support.network.http_client import Client
from tests.support.postgres.invariants import assert_sound
from tests.support.service.gateway import RestartableServer, running_gateway
from tests.support.service.server import running_server
from tests.support.waiting import eventually
from thumbq.v1.queue_pb2 import DequeueJobRequest
from thumbq_gateway.metrics import Metrics
from thumbq_gateway.transcoding.together import Together
from thumbq_server.storage.postgres.database import Database

_LEASED = "SELECT count(*) AS jobs FROM leases"
_WAIT_FOR_A_LOCK = "SELECT count(*) AS jobs FROM pg_locks WHERE NOT granted"


async def count(database: Database, query: str) -> int:
    (row,) = await database.fetch(query)
    jobs: int = row["jobs"]
    return jobs


async def assert_held(database: Database, held: int, of: int) -> None:
    """Assert that this number of jobs ends up leased, and all others ready, their attempts unspent."""
    ready = "SELECT count(*) AS jobs FROM ready WHERE attempt = 0"

    async def is_so() -> bool:
        return (await count(database, _LEASED), await count(database, ready)) == (held, of - held)

    await eventually(is_so)
    await assert_sound(database)


class Caller(NamedTuple):
    """A worker that asks for a job on a connection of its own."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


@asynccontextmanager
async def dequeuing(client: Client, number: int) -> AsyncIterator[list[Caller]]:
    """Have this number of workers ask for a job at once. They hang up when the block ends."""
    body = '{"workerId": "w"}'
    port = int(str(client.http._base_url).rstrip("/").rsplit(":", 1)[1])
    callers = [Caller(*await asyncio.open_connection("127.0.0.1", port)) for _ in range(number)]
    for caller in callers:
        caller.writer.write(f"POST {DEQUEUE} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
    try:
        yield callers
    finally:
        for caller in callers:
            caller.writer.transport.abort()


async def hang_up(callers: list[Caller], client: Client) -> None:
    for caller in callers:
        caller.writer.transport.abort()
    # The gateway reads what has come before it reads this.
    assert (await client.get("/healthz")).status == 200


async def test_jobs_of_callers_who_hang_up_before_the_answer_go_to_others(client: Client, database_url: str) -> None:
    """Half of the callers hang up while their message is under way, or while they wait for the next one."""
    await client.enqueue_many(range(1, 2 * MANY + 1))
    async with Database(database_url) as database:

        async def is_held_up() -> bool:
            return await count(database, _WAIT_FOR_A_LOCK) > 0

        async with AsyncExitStack() as stack:
            async with locked(database_url, "ready"):
                first = await stack.enter_async_context(dequeuing(client, MANY))
                await eventually(is_held_up)
                second = await stack.enter_async_context(dequeuing(client, MANY))
                await hang_up(first[::2] + second[::2], client)
            heads = [await caller.reader.readuntil(b"\r\n\r\n") for caller in first[1::2] + second[1::2]]
        assert {head[9:12] for head in heads} == {b"200"}
        await assert_held(database, MANY, of=2 * MANY)


async def test_callers_who_hang_up_at_any_moment_keep_no_job(server: str, database_url: str) -> None:
    """A call that is cancelled has claimed nothing in the end, whenever that was. The moments are random."""
    moments = random.Random(9)
    jobs = 300
    async with Database(database_url) as database, grpc.aio.insecure_channel(server) as channel:
        async with running_gateway(server) as http:
            await Client(http).enqueue_many(range(1, jobs + 1))
        together = Together(channel, Metrics().requests)

        async def call(number: int) -> bool:
            try:
                async with asyncio.timeout(moments.uniform(0, 0.05) if number % 4 else None):
                    await together.call(DequeueJobRequest(worker_id=f"w{number % 20}"))
            except TimeoutError:
                return False
            return True

        answered = sum(await asyncio.gather(*map(call, range(jobs))))
        assert jobs / 4 <= answered < jobs
        await assert_held(database, answered, of=jobs)
        await together.settle()


async def test_callers_who_hang_up_between_their_answer_and_its_reading_keep_no_job(
    server: str, database_url: str
) -> None:
    """The first of a message to read its answer makes the others hang up, whose answers have come with it."""
    async with Database(database_url) as database, grpc.aio.insecure_channel(server) as channel:
        async with running_gateway(server) as http:
            await Client(http).enqueue_many(range(1, MANY + 1))
        together = Together(channel, Metrics().requests)
        others: list[asyncio.Task[object]] = []

        async def first() -> None:
            await together.call(DequeueJobRequest(worker_id="w"))
            for other in others:
                other.cancel()

        reading = asyncio.create_task(first())
        others += [asyncio.create_task(together.call(DequeueJobRequest(worker_id="w"))) for _ in range(MANY - 1)]
        await reading
        await asyncio.wait(others)
        assert all(other.cancelled() for other in others)
        await assert_held(database, 1, of=MANY)
        await together.settle()


async def test_reports_of_callers_who_hang_up_end_each_job_once_or_not_at_all(
    client: Client, database_url: str
) -> None:
    await client.enqueue_many(range(1, MANY + 1))
    claimed = await asyncio.gather(*[client.dequeue(f"w{number}") for number in range(MANY)])
    moments = random.Random(9)

    async def complete(job_id: int) -> bool:
        impatient = aiohttp.ClientTimeout(total=moments.uniform(0.001, 0.05) if job_id % 2 else None)
        try:
            answer = await client.post(f"{JOBS}/{job_id}/complete", RESULT, timeout=impatient)
        except TimeoutError:
            return False
        return answer.status == 200

    known = await asyncio.gather(*[complete(job["id"]) for job in claimed])
    async with Database(database_url) as database:
        completed = {row["job_id"] for row in await database.fetch("SELECT job_id FROM attempts")}
        assert {job["id"] for job, is_known in zip(claimed, known, strict=True) if is_known} <= completed
        await assert_sound(database)
    again = await asyncio.gather(*[client.post(f"{JOBS}/{job['id']}/complete", RESULT) for job in claimed])
    assert {answer.status for answer in again} <= {200, 400}
    jobs = await asyncio.gather(*[client.job(job["id"]) for job in claimed])
    assert {job["status"] for job in jobs} == {"Completed"}


async def test_a_gateway_that_stops_gives_back_what_it_was_about_to_claim(database_url: str) -> None:
    # No statement ends by its time limit, however long a busy machine takes.
    async with (
        Database(database_url) as database,
        running_server(database_url, statement_timeout=300) as server,
    ):

        async def is_held_up() -> bool:
            return await count(database, _WAIT_FOR_A_LOCK) > 0

        async with running_gateway(server) as http:
            await Client(http).enqueue_many(range(1, MANY + 1))
        async with AsyncExitStack() as stack, locked(database_url, "ready"):
            async with asyncio.timeout(120):
                async with running_gateway(server) as http:
                    callers = await stack.enter_async_context(dequeuing(Client(http), MANY))
                    await eventually(is_held_up)
            assert {await caller.reader.read() for caller in callers} == {b""}
        await assert_held(database, 0, of=MANY)


async def test_a_server_that_stops_under_the_calls_answers_503_and_keeps_no_job(
    restartable: RestartableServer, database_url: str
) -> None:
    async with Database(database_url) as database, running_gateway(restartable.address) as http:
        client = Client(http)
        await client.enqueue_many(range(1, MANY + 1))

        async def is_held_up() -> bool:
            return await count(database, _WAIT_FOR_A_LOCK) > 0

        async with locked(database_url, "ready"):
            callers = [asyncio.create_task(client.post(DEQUEUE, {"workerId": f"w{number}"})) for number in range(MANY)]
            await eventually(is_held_up)
            await restartable.stop()
            assert {(await caller).status for caller in callers} == {503}
        await restartable.start()
        await assert_held(database, 0, of=MANY)
