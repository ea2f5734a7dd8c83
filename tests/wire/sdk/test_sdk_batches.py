"""Batches of the SDK: as columns where these hold all, and as messages for the rest and for older servers."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from tests.support.service.between import refusals_passed_on, server_between
from tests.wire.sdk.sdk import HASH
from thumbq import Client, InvalidJob, NewJob, Producer, Request
from thumbq.client.batches import columns_of
from thumbq.v1 import queue_pb2, queue_pb2_grpc


@asynccontextmanager
async def server_in_between(behind: str, *, older: bool) -> AsyncIterator[tuple[str, list[str]]]:
    """A server that passes batches on, and the form of each. `older`: it does not know columns."""
    forms: list[str] = []

    class Between(queue_pb2_grpc.QueueServiceServicer):
        def __init__(self, stub: Any) -> None:
            self._stub = stub

        async def EnqueueJobs(self, request: queue_pb2.EnqueueJobsRequest, context: Any) -> Any:  # noqa: N802
            forms.append("messages")
            async with refusals_passed_on(context):
                return await self._stub.EnqueueJobs(request)

        async def EnqueueColumns(self, request: queue_pb2.EnqueueColumnsRequest, context: Any) -> Any:  # noqa: N802
            forms.append("columns")
            if older:
                await context.abort(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
            async with refusals_passed_on(context):
                return await self._stub.EnqueueColumns(request)

    async with server_between(behind, Between) as address:
        yield address, forms


def requests(first: int, **others: Any) -> Iterator[Request]:
    return (Request(model_id=first + number, model_hash=HASH, **others) for number in range(3))


async def test_a_batch_goes_as_columns_unless_they_do_not_hold_all(server: str):
    async with server_in_between(server, older=False) as (between, forms), Client(between) as client:
        answers = await client.enqueue_many(requests(1, priority=5, max_attempts=2))
        again = await client.enqueue_many(requests(1))
        assert [answer.outcome for answer in (*answers, *again)] == ["Created"] * 3 + ["Existing"] * 3
        assert [answer.job_id for answer in again] == [answer.job_id for answer in answers]
        for others in ({"kind": "Sound"}, {"options": {"size": 1}}, {"delay": 5}, {"force": True}):
            await client.enqueue_many(requests(10, **others))
    assert forms == ["columns"] * 2 + ["messages"] * 4
    async with Client(server) as client:
        job = await client.job(answers[2].job_id)
    assert (job.model_id, job.model_hash, job.priority, job.max_attempts) == (3, HASH, 5, 2)


async def test_a_wrong_job_is_named_as_in_messages_and_columns_go_on(server: str):
    async with server_in_between(server, older=False) as (between, forms), Producer(between) as producer:
        jobs = [NewJob(model_id=number, model_hash=HASH) for number in (1, 2, 3)]
        with pytest.raises(InvalidJob, match=r"jobs\[1\]: priority must be between 0 and 9"):
            await producer.enqueue([jobs[0], NewJob(model_id=2, model_hash=HASH, priority=10)])
        assert len(await producer.enqueue(jobs)) == 3
    assert forms == ["columns", "columns"]


async def test_jobs_with_large_options_take_more_calls(server: str):
    asked = [Request(model_id=number, model_hash=HASH, options={"text": "a" * 3_000}) for number in range(1, 2_001)]
    async with server_in_between(server, older=False) as (between, forms), Client(between) as client:
        answers = await client.enqueue_many(asked)
    async with Client(server) as client:
        last = await client.job(answers[-1].job_id)
    assert len({answer.job_id for answer in answers}) == 2_000
    assert last.model_id == 2_000
    assert forms == ["messages"] * 2


async def test_a_wrong_job_of_a_later_call_is_named_by_its_place_in_the_list(server: str):
    asked = [Request(model_id=number, model_hash=HASH, options={"text": "a" * 3_000}) for number in range(1, 2_001)]
    asked[1_700] = Request(model_id=1_701, model_hash=HASH, priority=12)
    async with Client(server) as client:
        with pytest.raises(InvalidJob, match=r"^jobs\[1700\]: priority must be between 0 and 9"):
            await client.enqueue_many(asked)


async def test_an_older_server_gets_messages(server: str):
    async with server_in_between(server, older=True) as (between, forms), Client(between) as client:
        answers = [*await client.enqueue_many(requests(1)), *await client.enqueue_many(requests(1))]
    assert [answer.outcome for answer in answers] == ["Created"] * 3 + ["Existing"] * 3
    assert forms == ["columns", "messages", "messages"]


@pytest.mark.parametrize(
    "odd",
    [
        {"force": True},
        {"model_version_id": 1},
        {"kind": "Sound"},
        {"options_matter": True},
        {"delay": {"seconds": 1}},
        {"options": {}},
        {"max_attempts": 3},
        {"model_id": 0},
        {"model_id": -1},
        {"priority": -1},
        {"priority": 1_000},
        {"model_hash": HASH[:-1] + "x"},
        {"model_hash": HASH[:-1]},
        {"model_hash": HASH[:-2] + "  "},
        {"model_hash": HASH[:-2], "priority": 1},
        {"model_hash": HASH[:-2], "force": True},
        {"model_hash": HASH[:-5], "kind": "abc"},
        {"model_hash": HASH + "00"},
        {"model_hash": ""},
    ],
    ids=str,
)
def test_a_job_that_columns_do_not_hold_keeps_its_batch_out_of_them(odd: dict[str, Any]):
    plain = [NewJob(model_id=number, model_hash=HASH) for number in (1, 127, 128, 2**63 - 1)]
    assert columns_of(plain) is not None
    assert columns_of([*plain, NewJob(**{"model_id": 7, "model_hash": HASH, **odd})]) is None
    # Nor is a hash that is too short made up for by one that is too long.
    longer = NewJob(model_id=7, model_hash=HASH + "00")
    assert columns_of([longer, NewJob(**{"model_id": 7, "model_hash": HASH, **odd})]) is None
