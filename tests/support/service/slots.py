"""Jobs for the slots of a worker, and the results that come of them, without a server."""

import asyncio
from collections.abc import Callable

from thumbq import Job, Thumbnail
from thumbq.outbox import Outbox
from thumbq.v1.job_pb2 import Result
from thumbq.working.slots import Slots

Start = Callable[..., Slots]
PICTURE = Thumbnail("/thumbnails/a.png", 1, 1, 1)


class Endings(Outbox):
    """An outbox that also notes the ends of lost jobs."""

    def __init__(self, wake: asyncio.Event) -> None:
        super().__init__(wake)
        self.lost: list[str] = []

    def gone(self, token: str) -> None:
        self.lost.append(token)


class Reports:
    """An outbox, and the results that a server would read from it."""

    def __init__(self) -> None:
        self.wake = asyncio.Event()
        self.outbox = Endings(self.wake)

    async def next(self) -> list[Result]:
        while not (message := self.outbox.take()):
            self.wake.clear()
            async with asyncio.timeout(30):
                await self.wake.wait()
        self.outbox.acknowledge(message.results.number, [])
        return list(message.results.results)

    async def first(self, count: int) -> list[Result]:
        results: list[Result] = []
        while len(results) < count:
            results += await self.next()
        return results


def jobs(*ids: int) -> dict[str, Job]:
    return {f"{number}:1": Job(id=number, model_id=number, lease_token=f"{number}:1") for number in ids}


async def fail_soon() -> None:
    raise ValueError("of a child")


def failures(results: list[Result]) -> list[str]:
    return [result.fail.error_message for result in results]
