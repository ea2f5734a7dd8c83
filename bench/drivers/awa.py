"""Awa's driver: its queue storage and COPY, as its documentation advises for many jobs."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

# The bench installs it into an environment of its own, which mypy does not see.
from awa import AsyncClient  # type: ignore[import-not-found, unused-ignore]

from bench.drivers import program
from bench.drivers.meter import Meter
from bench.drivers.program import Options, payload

_QUEUE = "noop"
_POLL_EVERY = 50  # milliseconds; a fourth of the default


@dataclass
class Noop:
    """The job: the fields of `payload`."""

    t: int
    model_id: int
    model_hash: str
    k: str


class AwaDriver:
    """A driver of one client."""

    def __init__(self, dsn: str) -> None:
        # Its driver needs a host before it looks for the folder of the socket.
        self._client = AsyncClient(dsn.replace("@/", "@localhost/"), max_connections=16)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.close()

    async def setup(self) -> None:
        """Make Awa's tables, and choose its faster storage."""
        await self._client.migrate()
        await self._client.install_queue_storage()

    async def batch(self, numbers: Sequence[int]) -> None:
        """Enqueue with one call, which is one COPY."""
        await self._client.enqueue_many_copy([Noop(**payload(number)) for number in numbers], queue=_QUEUE)

    async def one(self, number: int, called_ns: int) -> None:
        """Enqueue with one call."""
        await self._client.insert(Noop(**payload(number, called_ns)), queue=_QUEUE)

    async def work(self, meter: Meter, options: Options) -> None:
        """Run `max_workers` jobs at once."""

        async def handle(job: Any) -> None:
            meter.count(job.args.t)

        self._client.task(Noop, queue=_QUEUE)(handle)
        limits = {name: options[name] for name in ("max_workers", "claimers", "claim_batch_size")}
        await self._client.start([{"name": _QUEUE, **limits}], poll_interval_ms=_POLL_EVERY)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(program.run(AwaDriver(program.target())))
