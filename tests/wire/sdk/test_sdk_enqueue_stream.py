"""Jobs that a program enqueues one by one travel together, and outlive what breaks on the way."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from tests.support.network.line import Line
from tests.support.service.between import refusals_passed_on, server_between
from tests.support.service.server import running_server
from tests.wire.sdk.sdk import connected
from thumbq import Client, InvalidJob, NewJob, Producer, Unavailable
from thumbq.v1 import queue_pb2, queue_pb2_grpc
from thumbq_server.rpc.queue_service import QueueService

HASH = hashlib.sha256(b"model").hexdigest()


def job(model_id: int) -> NewJob:
    return NewJob(model_id=model_id, model_hash=HASH)


@asynccontextmanager
async def server_in_between(
    behind: str, *, older: bool, sizes: list[int] | None = None
) -> AsyncIterator[tuple[str, list[str]]]:
    """A server that passes on the messages of a stream, and the form of each. `older`: it overlooks columns.

    `sizes` gets the number of jobs in each message.
    """
    forms: list[str] = []

    class Between(queue_pb2_grpc.QueueServiceServicer):
        def __init__(self, stub: Any) -> None:
            self._stub = stub

        async def EnqueueStream(self, requests: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
            call = self._stub.EnqueueStream()
            async for request in requests:
                forms.append("columns" if request.HasField("columns") else "messages")
                if sizes is not None:
                    sizes.append(len(request.columns.model_ids) or len(request.jobs))
                if older:
                    request.ClearField("columns")
                await call.write(request)
                async with refusals_passed_on(context):
                    answer = await call.read()
                yield answer

    async with server_between(behind, Between) as address:
        yield address, forms


@pytest.mark.parametrize(
    ("bad", "form"),
    [
        (NewJob(model_id=3, model_hash="short"), "messages"),
        (NewJob(model_id=3, model_hash=HASH, priority=10), "columns"),
    ],
    ids=["messages", "columns"],
)
async def test_calls_that_come_together_get_their_own_answers(server: str, bad: NewJob, form: str):
    async with server_in_between(server, older=False) as (between, forms), Producer(between) as producer:
        calls = [producer.enqueue_one(each) for each in (job(1), job(2), bad, job(4))]
        first, second, refusal, fourth = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(refusal, InvalidJob)
        taken = [answer for answer in (first, second, fourth) if not isinstance(answer, BaseException)]
        assert [answer.outcome for answer in taken] == [queue_pb2.ENQUEUE_OUTCOME_CREATED] * 3
        again = await asyncio.gather(*(producer.enqueue_one(job(number)) for number in (1, 5, 2, 4)))
        assert [answer.outcome == queue_pb2.ENQUEUE_OUTCOME_EXISTING for answer in again] == [True, False, True, True]
    assert forms[0] == form
    async with Producer(server) as producer:
        assert [(await producer.get(answer.job_id)).model_id for answer in taken] == [1, 2, 4]


async def test_a_server_that_overlooks_columns_gets_messages(server: str):
    async with server_in_between(server, older=True) as (between, forms), Producer(between) as producer:
        for first in (1, 11):
            answers = await asyncio.gather(*(producer.enqueue_one(job(first + number)) for number in range(10)))
            assert all(answer.outcome == queue_pb2.ENQUEUE_OUTCOME_CREATED for answer in answers)
    assert forms[0] == "columns"
    assert set(forms[1:]) == {"messages"}


@pytest.mark.parametrize(
    ("callers", "sizes"), [(31, [31]), (32, [16, 16]), (64, [32, 32]), (2000, [500, 500, 500, 500])]
)
async def test_many_callers_share_two_messages(server: str, callers: int, sizes: list[int]):
    seen: list[int] = []
    async with server_in_between(server, older=False, sizes=seen) as (between, _), Producer(between) as producer:
        await asyncio.gather(*(producer.enqueue_one(job(1 + number)) for number in range(callers)))
    assert seen == sizes


async def test_a_caller_that_gives_up_harms_no_other(server: str):
    async with Client(server) as client:
        impatient = asyncio.create_task(client.enqueue(1, HASH))
        patient = asyncio.create_task(client.enqueue(2, HASH))
        await asyncio.sleep(0)
        impatient.cancel()
        assert (await patient).job_id
        with pytest.raises(asyncio.CancelledError):
            await impatient


async def test_jobs_whose_connection_breaks_are_sent_again(database_url: str):
    async with (
        running_server(database_url) as address,
        Line.to(int(address.rpartition(":")[2])) as line,
        Producer(f"127.0.0.1:{line.port}") as producer,
    ):
        answers = []
        for start in range(1, 1001, 100):
            calls = [asyncio.create_task(producer.enqueue_one(job(start + place))) for place in range(100)]
            await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
            line.go_dead()
            line.mend()
            answers += await asyncio.gather(*calls)
    async with connected(database_url) as database:
        ids = await database.fetchval("SELECT array_agg(id ORDER BY model_id) FROM jobs")
    assert [answer.job_id for answer in answers] == ids


async def test_a_stream_that_has_nothing_to_do_survives_a_restart(database_url: str, unused_tcp_port: int):
    async with Producer(f"127.0.0.1:{unused_tcp_port}") as producer:
        for model_id in (1, 2):
            async with running_server(database_url, grpc_port=unused_tcp_port):
                assert (await producer.enqueue_one(job(model_id))).job_id


async def test_who_still_waits_when_the_client_is_closed_is_told(unused_tcp_port: int):
    async with Producer(f"127.0.0.1:{unused_tcp_port}") as producer:
        waiting = asyncio.create_task(producer.enqueue_one(job(1)))
        await asyncio.sleep(0)
    with pytest.raises(Unavailable, match="closed"):
        await waiting


async def test_an_older_server_gets_a_call_for_each_job(database_url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr(QueueService, "EnqueueStream")
    async with running_server(database_url) as address, Producer(address) as producer:
        answers = await asyncio.gather(*(producer.enqueue_one(job(number)) for number in (1, 2, 3)))
        assert [(await producer.get(answer.job_id)).model_id for answer in answers] == [1, 2, 3]
        assert (await producer.enqueue_one(job(4))).job_id


@asynccontextmanager
async def server_with_a_full_queue(sizes: list[int]) -> AsyncIterator[str]:
    """A server that refuses all jobs at once, for an hour; `sizes` gets the number of jobs in each message."""

    class Full(queue_pb2_grpc.QueueServiceServicer):
        async def EnqueueStream(self, requests: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
            async for request in requests:
                sizes.append(len(request.columns.model_ids) or len(request.jobs))
                answer = queue_pb2.EnqueueStreamResponse(number=request.number, job_ids=[0] * sizes[-1])
                for place in range(sizes[-1]):
                    code = grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
                    answer.exceptions.add(place=place, code=code, retry_after={"seconds": 3600})
                yield answer

    async with server_between("127.0.0.1:1", lambda _: Full()) as address:
        yield address


async def test_jobs_that_a_full_queue_refused_are_not_sent_again_before_their_time():
    sizes: list[int] = []
    async with server_with_a_full_queue(sizes) as server, Producer(server, timeout=4) as producer:
        calls = [producer.enqueue_one(job(1 + number)) for number in range(10_000)]
        answers = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(answer, Unavailable) for answer in answers)
    assert 0 < sum(sizes) <= 10_000
