"""Well-behaved callers, which measure how long their calls take."""

import asyncio
import contextlib
import hashlib
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp

from bench.flood.floods import PICTURE
from thumbq import Job, NewJob, Producer, Thumbnail, ThumbqError, Worker

# Seconds between the rounds of a caller. A JSON worker that finds no job may ask 20 times a second; more is refused.
_PAUSES = {"JSON worker": 0.06, "gRPC worker": 0.02, "page": 0.02}
_numbers = itertools.count(1)
Times = dict[str, list[float]]
Round = Callable[[], Awaitable[None]]
CALLERS = ("JSON worker", "gRPC worker", "page")


class GoodCallers:
    """A JSON worker, a gRPC worker and a page. Each does one round after the other, and notes its time."""

    def __init__(self, grpc_address: str, http: aiohttp.ClientSession) -> None:
        self._grpc = grpc_address
        self._http = http
        self.failures = 0

    async def measure(self, seconds: float) -> Times:
        """Repeat the rounds for this many seconds, and return their times."""
        times: Times = {name: [] for name in CALLERS}
        async with self._grpc_worker() as grpc_round, self._page() as page_round:
            rounds = dict(zip(CALLERS, (self._json_round, grpc_round, page_round), strict=True))
            await asyncio.gather(*(self._repeat(name, rounds[name], times[name], seconds) for name in CALLERS))
        return times

    async def _repeat(self, name: str, one: Round, times: list[float], seconds: float) -> None:
        ends = time.perf_counter() + seconds
        while time.perf_counter() < ends:
            began = time.perf_counter()
            try:
                async with asyncio.timeout(30):
                    await one()
            except (aiohttp.ClientError, ThumbqError, TimeoutError):
                self.failures += 1
            times.append(time.perf_counter() - began)
            await asyncio.sleep(_PAUSES[name])

    async def _json_round(self) -> None:
        """Ask for a job, and report it if there is one: a round of the contract."""
        async with self._http.post("/api/thumbnail-jobs/dequeue", json={"workerId": "good-json"}) as answer:
            answer.raise_for_status()
            job = await answer.json() if answer.status == 200 else None
        if job:
            async with self._http.post(f"/api/thumbnail-jobs/{job['id']}/complete", json=PICTURE) as answer:
                answer.raise_for_status()

    @contextlib.asynccontextmanager
    async def _grpc_worker(self) -> AsyncIterator[Round]:
        """Yield a round: from the enqueue to the end of the job."""
        picture = Thumbnail("/var/lib/thumbq/1.png", 1, 1, 1)

        async def complete(_job: Job) -> Thumbnail:
            return picture

        async with Producer(self._grpc) as producer, Worker(self._grpc) as worker:
            running = asyncio.create_task(worker.run(complete, handle_signals=False))

            async def one() -> None:
                number = next(_numbers)
                digest = hashlib.sha256(str(number).encode()).hexdigest()
                answer = await producer.enqueue_one(NewJob(model_id=number, model_hash=digest))
                await producer.get(answer.job_id, wait=20)

            yield one
            worker.stop()
            await running

    @contextlib.asynccontextmanager
    async def _page(self) -> AsyncIterator[Round]:
        """Yield a round: from an announcement to its event on the page."""
        model_id = 1_000_000_000
        async with self._http.get(f"/api/notifications?modelId={model_id}", timeout=aiohttp.ClientTimeout()) as stream:
            stream.raise_for_status()

            async def one() -> None:
                url = f"/thumbnails/{next(_numbers)}.png"
                body = {"status": "Ready", "thumbnailUrl": url}
                async with self._http.post(f"/api/test/thumbnail-complete/{model_id}", json=body) as answer:
                    answer.raise_for_status()
                while url not in (line := (await stream.content.readline()).decode()):
                    if not line:
                        raise aiohttp.ClientConnectionError("the stream has ended")

            yield one
