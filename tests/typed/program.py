"""A program of a user, as the checkers of types read it. It has every call of the SDK, and never runs."""

# ruff: noqa: T201

import asyncio
from datetime import datetime, timedelta

from thumbq import (
    Answer,
    BlockingClient,
    Client,
    Enqueued,
    EnqueueOutcome,
    InvalidJob,
    Job,
    JobFailed,
    JobInfo,
    JobReleased,
    JobStatus,
    NewJob,
    Notification,
    Picture,
    Producer,
    Request,
    Reset,
    Subscriber,
    Thumbnail,
    ThumbnailStatus,
    Unavailable,
    Worker,
    hash_file,
    is_cancelled,
)


async def draw(job: Job) -> Thumbnail:
    if not job.model_hash:
        raise JobReleased
    if job.attempt_count > 2:
        raise JobFailed("no such model", retryable=False, retry_delay=1.0)
    return Thumbnail(f"/thumbnails/{job.model_id}.png", size_bytes=1, width=512, height=512)


def draw_slowly(job: Job) -> Thumbnail:
    if is_cancelled():
        raise JobReleased
    return Thumbnail(f"/thumbnails/{job.model_id}.png", 1, 512, 512)


async def work() -> None:
    async with Worker("localhost:50051", worker_id="render-1", concurrency=2, labels={"gpu": "none"}) as worker:
        await worker.run(draw)
    async with Worker("localhost:50051") as worker:
        await worker.run(draw_slowly, processes=True, handle_signals=False)


async def produce() -> list[Enqueued]:
    async with Producer("localhost:50051", timeout=5.0) as producer:
        first: Enqueued = await producer.enqueue_one(NewJob(model_id=1, model_hash="a" * 64, priority=9))
        assert first.outcome == EnqueueOutcome.ENQUEUE_OUTCOME_CREATED
        job = await producer.get(first.job_id, wait=2.0)
        assert job.status == JobStatus.JOB_STATUS_COMPLETED
        created: datetime = job.created_at.ToDatetime()
        async for other in producer.jobs(status=JobStatus.JOB_STATUS_FAILED, model_id=7):
            print(other.id, other.error_message, created)
        jobs = (NewJob(model_id=number, model_hash="a" * 64) for number in range(1, 4))
        return await producer.enqueue(jobs, progress=print)


async def ask() -> str | None:
    async with Client("localhost:50051", timeout=timedelta(seconds=5)) as client:
        try:
            answer: Answer = await client.enqueue(7, hash_file("7.glb"), delay=timedelta(minutes=1))
        except InvalidJob as error:
            return str(error)
        except Unavailable as error:
            return "later" if error.retryable else None
        picture: Picture = await client.wait_for(answer.job_id, timeout=60)
        failed: list[JobInfo] = [job async for job in client.jobs(status="Failed")]
        requests = [Request(model_id=job.model_id, model_hash=job.model_hash, force=True) for job in failed]
        await client.enqueue_many(requests, progress=print)
        await client.cancel(answer.job_id)
        print(picture.path, picture.width, await client.cancel_model(7), (await client.retry(1)).status)
        return picture.url


async def follow() -> None:
    ready = [ThumbnailStatus.THUMBNAIL_STATUS_READY]
    async with Subscriber("localhost:50051", model_ids=[7], statuses=ready, after="earliest") as subscriber:
        async for item in subscriber:
            if isinstance(item, Reset):
                print(item.reason)
            else:
                notification: Notification = item
                print(notification.model_id, notification.thumbnail_url, subscriber.cursor)


def script() -> None:
    with BlockingClient("localhost:50051") as client:
        picture = client.wait_for(client.enqueue(7, "a" * 64).job_id)
        print(picture.width, [job.id for job in client.jobs(status="Completed")])


asyncio.run(work())
