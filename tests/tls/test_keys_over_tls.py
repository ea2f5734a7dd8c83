"""A server for other machines, with TLS and keys: every part of the SDK shows both, and learns what it may not do."""

import asyncio

import pytest

from tests.support.network.certificates import Certificates
from tests.support.service.keys import make_key
from tests.support.service.server import running_server
from thumbq import (
    AccessDenied,
    BlockingClient,
    Client,
    Job,
    JobProgress,
    JobStatus,
    NewJob,
    Notification,
    Producer,
    Request,
    Subscriber,
    Thumbnail,
    Worker,
    report_progress,
)
from thumbq.keyed_channel import KeyedChannel
from thumbq.tls import Tls, channel_to

HASH = "ab" * 32


def wait_blocking(server: str, key: str, tls: Tls, job_id: int) -> str | None:
    with BlockingClient(server, api_key=key, tls=tls) as client:
        return client.wait_for(job_id, timeout=60).path


async def test_every_part_of_the_sdk_shows_its_key_over_tls(database_url: str, certificates: Certificates) -> None:
    tls = Tls(certificates.ca)
    told: list[JobProgress] = []
    async with running_server(database_url, **certificates.settings) as address:
        server = f"grpcs://{address}"
        async with channel_to(server, [], tls) as channel:
            admin = await make_key(channel, "admin")
        async with KeyedChannel(channel_to(server, [], tls), admin) as channel:
            keys = {role: await make_key(channel, role) for role in ("producer", "worker", "viewer")}

        seen = asyncio.Event()

        def show(progress: JobProgress) -> None:
            told.append(progress)
            seen.set()

        async def render(job: Job) -> Thumbnail:
            report_progress(job, 0.5)
            await seen.wait()
            return Thumbnail("/thumbnails/7.webp", 100, 1, 1)

        async with (
            Subscriber(server, api_key=keys["viewer"], tls=tls, on_progress=show) as subscriber,
            Client(server, api_key=keys["producer"], tls=tls) as client,
            Producer(server, api_key=keys["producer"], tls=tls) as producer,
            Worker(server, api_key=keys["worker"], tls=tls) as worker,
            asyncio.TaskGroup() as group,
        ):
            news = group.create_task(first_ready(subscriber))
            first = await client.enqueue(model_id=7, model_hash=HASH)
            second = await producer.enqueue_one(NewJob(model_id=8, model_hash=HASH))
            group.create_task(worker.run(render, handle_signals=False))
            assert (await client.wait_for(first.job_id, timeout=60)).path == "/thumbnails/7.webp"
            ended = await producer.get(second.job_id, wait=60)
            assert ended.status == JobStatus.JOB_STATUS_COMPLETED
            path = await asyncio.to_thread(wait_blocking, server, keys["producer"], tls, second.job_id)
            assert path == "/thumbnails/7.webp"
            assert await news
            assert told[0].progress == 0.5
            worker.stop()

        # without a key, and with one of another role
        for key in (None, keys["viewer"]):
            async with (
                Client(server, api_key=key, tls=tls) as client,
                Producer(server, api_key=key, tls=tls) as producer,
            ):
                for call in (
                    client.enqueue(model_id=9, model_hash=HASH),
                    client.enqueue_many([Request(model_id=9, model_hash=HASH)]),
                    client.cancel(first.job_id),
                    producer.enqueue([NewJob(model_id=9, model_hash=HASH)]),
                    producer.enqueue_one(NewJob(model_id=9, model_hash=HASH)),
                ):
                    with pytest.raises(AccessDenied) as denied:
                        await call
                    assert not denied.value.retryable
        with pytest.raises(AccessDenied):
            async with Subscriber(server, tls=tls):
                pass


async def first_ready(subscriber: Subscriber) -> bool:
    async for item in subscriber:
        if isinstance(item, Notification) and item.thumbnail_url:
            return True
    return False
