"""Producers over gRPC and over JSON, which often request the same jobs, and an operator who cancels and retries.

`python -m tests.system.chaos.actors.producers GRPC_ADDRESS HTTP_ADDRESS JOURNAL JSON_JOURNAL SEED RATE`

They enqueue RATE jobs a second, and pause while more than BACKLOG jobs are Pending.
"""

import asyncio
import hashlib
import io
import json
import random
import signal
import sys
import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import aiohttp
import grpc

from tests.support.programs import say_ready
from tests.system.chaos.actors.journal import ENQUEUED, Pen, read_journal
from thumbq import EnqueueOutcome, NewJob, Producer, ThumbqError
from thumbq.connection import open_channel
from thumbq.v1.admin_pb2 import CancelJobRequest, CancelModelJobsRequest, RetryJobRequest
from thumbq.v1.admin_pb2_grpc import AdminServiceStub
from thumbq.v1.notification_pb2 import WatchQueueRequest
from thumbq.v1.notification_pb2_grpc import NotificationServiceStub

BACKLOG = 250
TIMEOUT = 5.0
# Models that are requested often, in several versions; pages watch some of them.
HOT_MODELS = range(1, 13)
HOT_VERSIONS = 3
# New models have higher numbers.
_KNOWN_MODELS = 1000
# A server that stops answers CANCELLED for calls that it has not begun.
_TRANSIENT = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED}
_NOT_NOW = {grpc.StatusCode.FAILED_PRECONDITION}


def model_hash(model_id: int, version: int) -> str:
    return hashlib.sha256(f"{model_id}/{version}".encode()).hexdigest()


class Requests:
    """Draws the next job to enqueue: mostly for a new model, sometimes for a known one."""

    def __init__(self, seed: int, last_model: int) -> None:
        self.chance = random.Random(f"{seed}/requests")
        self._last_model = last_model
        self._recent: deque[NewJob] = deque(maxlen=200)
        self.job_ids: deque[int] = deque(maxlen=500)

    def next(self) -> NewJob:
        chance = self.chance.random()
        if chance < 0.12 and self._recent:
            known = self.chance.choice(self._recent)
            return NewJob(model_id=known.model_id, model_hash=known.model_hash, max_attempts=10)
        if chance < 0.25:
            model = self.chance.choice(HOT_MODELS)
            job = self._job(model, self.chance.randrange(HOT_VERSIONS))
            job.force = self.chance.random() < 0.3
            return job
        self._last_model += 1
        job = self._job(self._last_model, 0)
        self._recent.append(job)
        return job

    def _job(self, model: int, version: int) -> NewJob:
        job = NewJob(model_id=model, model_hash=model_hash(model, version), priority=self.chance.choice((0, 0, 0, 5)))
        job.max_attempts = self.chance.choice((10, 10, 10, 10, 10, 3, 1))
        if self.chance.random() < 0.03:
            job.delay.FromMilliseconds(self.chance.randrange(100, 1500))
        return job


def last_model(journals: Iterable[str]) -> int:
    """Return the last model that was requested before this start. A request for it would find its job ended."""
    entries = (entry for path in journals for entry in read_journal(Path(path)) if entry[1] == ENQUEUED)
    models: list[int] = [job[0] for entry in entries for job in entry[2]]
    return max([_KNOWN_MODELS, *models])


class Pace:
    """Limits the jobs a second, and the backlog."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._due = time.monotonic()
        self.pending = 0

    async def wait_for(self, jobs: int) -> None:
        self._due = max(self._due, time.monotonic() - 0.5) + jobs / self._rate
        await asyncio.sleep(max(0.0, self._due - time.monotonic()))
        while self.pending > BACKLOG:
            await asyncio.sleep(0.05)


async def watch_backlog(channel: grpc.aio.Channel, pace: Pace) -> None:
    while True:
        try:
            async for response in NotificationServiceStub(channel).WatchQueue(WatchQueueRequest(), timeout=5):
                pace.pending = response.snapshot.pending
        except grpc.aio.AioRpcError:
            pace.pending = 0  # unknown; the producers go on during an outage
            await asyncio.sleep(0.2)


async def ask_by_grpc(producer: Producer, requests: Requests, pace: Pace, pen: Pen) -> None:
    while True:
        jobs = [requests.next() for _ in range(requests.chance.choice((1, 2, 5, 20)))]
        await pace.wait_for(len(jobs))
        try:
            answers = await producer.enqueue(jobs)
        except ThumbqError as error:
            note_failure(pen, "enqueue", error.code, str(error))
            continue
        outcomes = [EnqueueOutcome.Name(answer.outcome).removeprefix("ENQUEUE_OUTCOME_") for answer in answers]
        note(pen, requests, jobs, [answer.job_id for answer in answers], outcomes)


async def ask_by_json(http: aiohttp.ClientSession, requests: Requests, pace: Pace, pen: Pen) -> None:
    while True:
        jobs = [requests.next() for _ in range(requests.chance.choice((1, 1, 4)))]
        await pace.wait_for(len(jobs))
        bodies = [_body(job) for job in jobs]
        body = bodies[0] if len(bodies) == 1 else {"jobs": bodies}
        try:
            async with (
                asyncio.timeout(TIMEOUT),
                http.post("/api/thumbnail-jobs", data=io.BytesIO(json.dumps(body).encode())) as response,
            ):
                status, text = response.status, await response.read()
        except (OSError, TimeoutError, aiohttp.ClientError):
            pen.write("not enqueued", len(jobs))
            await asyncio.sleep(0.1)
            continue
        if status == 200:
            answer = json.loads(text)
            answers = answer.get("jobs", [answer])
            outcomes = [each["outcome"].upper() for each in answers]
            note(pen, requests, jobs, [each["jobId"] for each in answers], outcomes)
        elif status in {503, 504}:
            pen.write("not enqueued", len(jobs))
            await asyncio.sleep(0.1)
        else:
            pen.write("surprise", "enqueue", status, text.decode(errors="replace"))


def _body(job: NewJob) -> dict[str, Any]:
    body: dict[str, Any] = {"modelId": job.model_id, "modelHash": job.model_hash, "priority": job.priority}
    if job.HasField("max_attempts"):
        body["maxAttempts"] = job.max_attempts
    if job.force:
        body["force"] = True
    return body


async def operate(channel: grpc.aio.Channel, requests: Requests, pen: Pen) -> None:
    admin = AdminServiceStub(channel)
    while True:
        await asyncio.sleep(requests.chance.uniform(0.1, 0.5))
        if not requests.job_ids:
            continue
        job_id = requests.chance.choice(requests.job_ids)
        verb = requests.chance.choice(("cancel", "cancel", "retry", "retry", "cancel model"))
        try:
            match verb:
                case "cancel":
                    await admin.CancelJob(CancelJobRequest(job_id=job_id), timeout=TIMEOUT)
                case "retry":
                    await admin.RetryJob(RetryJobRequest(job_id=job_id), timeout=TIMEOUT)
                case _:
                    model = requests.chance.choice(HOT_MODELS)
                    await admin.CancelModelJobs(CancelModelJobsRequest(model_id=model), timeout=TIMEOUT)
            pen.write("operated", verb, job_id)
        except grpc.aio.AioRpcError as error:
            if error.code() not in _NOT_NOW:
                note_failure(pen, verb, error.code(), error.details())


def note(pen: Pen, requests: Requests, jobs: list[NewJob], job_ids: list[int], outcomes: list[str]) -> None:
    requests.job_ids.extend(job_ids)
    pen.write(
        ENQUEUED,
        [
            [job.model_id, job.model_hash, job_id, outcome]
            for job, job_id, outcome in zip(jobs, job_ids, outcomes, strict=True)
        ],
    )


def note_failure(pen: Pen, verb: str, code: grpc.StatusCode | None, details: str | None) -> None:
    name = code.name if code else "no status"
    if code in _TRANSIENT:
        pen.write("not enqueued" if verb == "enqueue" else "not operated", name)
    else:
        pen.write("surprise", verb, name, details)


async def main(grpc_address: str, http_address: str, journals: tuple[str, str], seed: int, rate: float) -> None:
    requests, pace = Requests(seed, last_model(journals)), Pace(rate)
    pen, json_pen = map(Pen, journals)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with (
        Producer(grpc_address, timeout=TIMEOUT) as producer,
        aiohttp.ClientSession(f"http://{http_address}") as http,
        open_channel(grpc_address) as channel,
    ):
        say_ready()
        duties = [
            asyncio.create_task(duty)
            for duty in (
                watch_backlog(channel, pace),
                ask_by_grpc(producer, requests, pace, pen),
                ask_by_json(http, requests, pace, json_pen),
                operate(channel, requests, pen),
            )
        ]
        await asyncio.wait([*duties, asyncio.create_task(stop.wait())], return_when=asyncio.FIRST_COMPLETED)
        for duty in duties:
            if duty.done():
                duty.result()
            duty.cancel()
        await asyncio.gather(*duties, return_exceptions=True)


if __name__ == "__main__":
    _, by_grpc, by_json, journal, json_journal, seed, rate = sys.argv
    asyncio.run(main(by_grpc, by_json, (journal, json_journal), int(seed), float(rate)))
