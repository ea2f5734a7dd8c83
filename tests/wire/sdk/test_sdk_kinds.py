"""Kinds and options with the SDK: a handler for each kind, and servers that know neither."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.service.between import server_between
from tests.wire.sdk import process_handlers
from tests.wire.sdk.sdk import HASH, PICTURE, connected, enqueue, reached, working
from thumbq import BlockingClient, Client, Job, NewJob, Producer, Request, Thumbnail, Unsupported, Worker, options_of
from thumbq.v1 import queue_pb2, queue_pb2_grpc

OPTIONS = {"size": 512, "light": {"warm": True, "strength": 0.5}, "views": ["front", None]}


async def test_each_kind_has_its_handler_and_gets_its_options(server: str, database_url: str):
    seen: list[tuple[str, str, dict[str, Any]]] = []

    async def render(job: Job) -> Thumbnail:
        seen.append(("render", job.asset_type, options_of(job)))
        return PICTURE

    def draw_wave(job: Job) -> Thumbnail:
        seen.append(("draw wave", job.asset_type, options_of(job)))
        return PICTURE

    async with Client(server) as client, connected(database_url) as database:
        await client.enqueue(1, HASH)
        job_id = (await client.enqueue(2, HASH, kind="Sound", options=OPTIONS)).job_id
        await client.enqueue(3, HASH, kind="Texture")
        async with working(server, {"Model": render, "Sound": draw_wave}):
            await reached(database, Completed=2, Pending=1)
        job = await client.job(job_id)
    assert sorted(seen, key=str) == [("draw wave", "Sound", OPTIONS), ("render", "Model", {})]
    assert (job.kind, job.options) == ("Sound", OPTIONS)


async def test_a_function_alone_gets_models(server: str, database_url: str):
    async def render(job: Job) -> Thumbnail:
        assert job.asset_type == "Model"
        return PICTURE

    async with connected(database_url) as database:
        await enqueue(server, 2)
        async with Producer(server) as producer:
            await producer.enqueue_one(NewJob(model_id=9, model_hash=HASH, kind="Sound"))
        async with working(server, render):
            await reached(database, Completed=2, Pending=1)


async def test_handlers_of_kinds_run_in_processes(server: str, database_url: str):
    async with connected(database_url) as database, Worker(server, concurrency=1) as worker:
        async with Producer(server) as producer:
            await producer.enqueue_one(NewJob(model_id=9, model_hash=HASH, kind="Sound"))
        handlers = {"Sound": process_handlers.pid_as_width}
        running = asyncio.create_task(worker.run(handlers, processes=True, handle_signals=False))
        await reached(database, Completed=1)
        worker.stop()
        await running


async def test_options_that_matter_start_a_job_again(server: str):
    def ask(**options: Any) -> str:
        with BlockingClient(server) as client:
            return client.enqueue(7, HASH, options=options, options_matter=True).outcome

    outcomes = [await asyncio.to_thread(ask, size=size) for size in (1, 1, 2)]
    assert outcomes == ["Created", "Existing", "Reset"]


async def test_handlers_must_be_functions(server: str):
    async with Worker(server) as worker:
        with pytest.raises(TypeError, match="handler of Sound"):
            await worker.run({"Sound": 5}, handle_signals=False)  # type: ignore[dict-item]
        with pytest.raises(ValueError, match="at least one kind"):
            await worker.run({}, handle_signals=False)


def without_kind(job: Any) -> Any:
    for unknown in ("kind", "options", "options_matter"):
        job.ClearField(unknown)
    return job


class Older(queue_pb2_grpc.QueueServiceServicer):
    """A server of the version before kinds: what it does not know is taken out of all messages on their way."""

    def __init__(self, stub: Any) -> None:
        self._stub = stub

    async def EnqueueJob(self, request: queue_pb2.EnqueueJobRequest, context: Any) -> Any:  # noqa: N802
        return await self._stub.EnqueueJob(without_kind(request))

    async def EnqueueJobs(self, request: queue_pb2.EnqueueJobsRequest, context: Any) -> Any:  # noqa: N802
        return await self._stub.EnqueueJobs(queue_pb2.EnqueueJobsRequest(jobs=map(without_kind, request.jobs)))

    async def StreamJobs(self, requests: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        async def without_kinds() -> AsyncIterator[Any]:
            async for request in requests:
                if request.HasField("hello"):
                    request.hello.ClearField("kinds")
                yield request

        async for answer in self._stub.StreamJobs(without_kinds()):
            yield answer


async def test_a_worker_of_models_alone_works_for_an_older_server(server: str, database_url: str):
    async def render(job: Job) -> Thumbnail:
        return PICTURE

    async with server_between(server, Older) as older, connected(database_url) as database:
        await enqueue(server, 1)
        async with working(older, {"Model": render}):
            await reached(database, Completed=1)


async def test_an_older_server_is_named_by_worker_and_producer(server: str):
    async def render(job: Job) -> Thumbnail:
        return PICTURE

    async with server_between(server, Older) as older:
        async with Worker(older) as worker:
            with pytest.raises(Unsupported, match="does not know kinds of jobs, and cannot send Sound"):
                await worker.run({"Sound": render}, handle_signals=False)
        async with Client(older) as client:
            assert (await client.enqueue(1, HASH)).outcome == "Created"
            with pytest.raises(Unsupported, match="does not know kinds and options"):
                await client.enqueue(2, HASH, options={"size": 1})
            with pytest.raises(Unsupported, match="cancel them, and upgrade the server"):
                await client.enqueue_many([Request(model_id=3, model_hash=HASH, kind="Sound")])
