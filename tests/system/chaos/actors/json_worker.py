"""A worker that speaks JSON, with the loop of the existing workers.

`python -m tests.system.chaos.actors.json_worker NAME ADDRESS JOURNAL SEED legacy|fenced`

Each slot works on one job at a time: dequeue, work, /complete; and /fail when /complete fails for any reason. Sometimes
the worker closes the connection before the answer to /complete can arrive. A fenced worker names its lease in every
report.
"""

import asyncio
import io
import json
import random
import signal
import sys
from typing import Any

import aiohttp

from tests.support.programs import say_ready
from tests.system.chaos.actors.behaviour import (
    FENCED,
    Behaviour,
    Ending,
    behaviour,
    failure_message,
    lease_of,
    picture_path,
)
from tests.system.chaos.actors.journal import ACCEPTED, Pen

SLOTS = 3
TIMEOUT = 3.0
IDLE_PAUSE = 0.05
# Share of the /complete calls that the worker gives up before the answer.
HANGS_UP = 0.03
_STALE = {"The lease on this job is no longer yours.", "Job is not in processing state."}
# 429: its slots, which share a name, asked too often while nothing was due.
_AWAY = {429, 503, 504}


class Refused(Exception):
    """The gateway answered with an error."""


class JsonWorker:
    """A worker with a few slots that work at the same time."""

    def __init__(self, name: str, http: aiohttp.ClientSession, pen: Pen, seed: int, mode: str) -> None:
        self.name = name
        self._http = http
        self._pen = pen
        self._seed = seed
        self._mode = mode
        self._chance = random.Random(f"{seed}/{name}")
        self.stopping = asyncio.Event()

    async def slot(self) -> None:
        while not self.stopping.is_set():
            if job := await self._dequeue():
                await self._work(job)
            else:
                await asyncio.sleep(IDLE_PAUSE)

    async def _dequeue(self) -> dict[str, Any] | None:
        try:
            status, body = await self._post("dequeue", {"workerId": self.name})
        except (OSError, TimeoutError, aiohttp.ClientError):
            return None
        if status == 200:
            job: dict[str, Any] = json.loads(body)
            self._pen.write("start", lease_of(job["leaseToken"]), job["attemptCount"])
            return job
        self._expect(status in {204, *_AWAY}, "dequeue", status, body)
        return None

    async def _work(self, job: dict[str, Any]) -> None:
        token = lease_of(job["leaseToken"])
        plan: Behaviour = behaviour(self._seed, token)
        await asyncio.sleep(plan.seconds)
        if plan.ending in {Ending.FAIL, Ending.FAIL_FOR_GOOD}:
            await self._fail(job, retryable=plan.ending is Ending.FAIL)
            return
        self._pen.write("result", token, "complete")
        try:
            await self._complete(job)
        except (OSError, TimeoutError, aiohttp.ClientError, Refused):
            if self._mode == FENCED and self._chance.random() < 0.5:
                await self._complete_again(job)
            else:
                await self._fail(job, retryable=True)

    async def _complete(self, job: dict[str, Any]) -> None:
        body = {
            "thumbnailPath": picture_path(self._mode, lease_of(job["leaseToken"])),
            "sizeBytes": 1000,
            "width": 256,
            "height": 256,
        }
        hangs_up = self._chance.random() < HANGS_UP
        timeout = self._chance.uniform(0.001, 0.02) if hangs_up else TIMEOUT
        await self._report("complete", job, body, timeout)

    async def _complete_again(self, job: dict[str, Any]) -> None:
        """Repeat a completion with the same token, which is allowed."""
        try:
            await self._complete(job)
        except (OSError, TimeoutError, aiohttp.ClientError, Refused):
            self._pen.write("gave up", lease_of(job["leaseToken"]))

    async def _fail(self, job: dict[str, Any], *, retryable: bool) -> None:
        token = lease_of(job["leaseToken"])
        self._pen.write("result", token, "fail")
        body: dict[str, Any] = {"errorMessage": failure_message(self._mode, token)}
        if not retryable:
            body["retryable"] = False
        try:
            await self._report("fail", job, body, TIMEOUT)
        except (OSError, TimeoutError, aiohttp.ClientError, Refused):
            self._pen.write("gave up", token)

    async def _report(self, verb: str, job: dict[str, Any], body: dict[str, Any], timeout: float) -> None:
        token = lease_of(job["leaseToken"])
        if self._mode == FENCED:
            body["leaseToken"] = job["leaseToken"]
        status, text = await self._post(f"{job['id']}/{verb}", body, timeout)
        if status == 200:
            self._pen.write(ACCEPTED, token, verb, self._mode)
            return
        if status == 400 and text.decode() in _STALE:
            self._pen.write("refused", token, verb, self._mode, "STALE")
        else:
            self._expect(status in _AWAY, verb, status, text)
        raise Refused

    async def _post(self, path: str, body: object, timeout: float = TIMEOUT) -> tuple[int, bytes]:
        data = io.BytesIO(json.dumps(body).encode())
        async with (
            asyncio.timeout(timeout),
            self._http.post(f"/api/thumbnail-jobs/{path}", data=data) as response,
        ):
            if response.status == 503:
                self._expect("Retry-After" in response.headers, path, response.status, b"without Retry-After")
            return response.status, await response.read()

    def _expect(self, good: bool, verb: str, status: int, body: bytes) -> None:
        if not good:
            self._pen.write("surprise", verb, status, body.decode(errors="replace"))


async def main(name: str, address: str, journal: str, seed: int, mode: str) -> None:
    pen = Pen(journal)
    async with aiohttp.ClientSession(f"http://{address}") as http:
        worker = JsonWorker(name, http, pen, seed, mode)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.stopping.set)
        say_ready()
        pen.write("begun")
        async with asyncio.TaskGroup() as slots:
            for _ in range(SLOTS):
                slots.create_task(worker.slot())
    pen.write("ended")


if __name__ == "__main__":
    _, name, address, journal, seed, mode = sys.argv
    asyncio.run(main(name, address, journal, int(seed), mode))
