"""PgQueuer's driver: asyncpg and uvloop, as its documentation shows."""

import json
from collections.abc import Sequence
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

import asyncpg
import uvloop

# The bench installs it into an environment of its own, which mypy does not see.
from pgqueuer import PgQueuer  # type: ignore[import-not-found, unused-ignore]
from pgqueuer.adapters.drivers.asyncpg import AsyncpgPoolDriver  # type: ignore[import-not-found, unused-ignore]
from pgqueuer.queries import Queries  # type: ignore[import-not-found, unused-ignore]

from bench.drivers import program
from bench.drivers.meter import Meter
from bench.drivers.program import Options, payload


class PgQueuerDriver:
    """A driver that enqueues over a pool and works over one connection."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    async def __aenter__(self) -> Self:
        self._pool = await asyncpg.create_pool(self._dsn, min_size=2, max_size=16)
        self._queries = Queries(AsyncpgPoolDriver(self._pool))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._pool.close()

    async def setup(self) -> None:
        """Run PgQueuer's installer."""
        await self._queries.install()

    async def batch(self, numbers: Sequence[int]) -> None:
        """Enqueue with one call, which is one statement."""
        bodies = [json.dumps(payload(number)).encode() for number in numbers]
        await self._queries.enqueue(["noop"] * len(bodies), bodies, [0] * len(bodies))

    async def one(self, number: int, called_ns: int) -> None:
        """Enqueue with one call."""
        await self._queries.enqueue("noop", json.dumps(payload(number, called_ns)).encode(), 0)

    async def work(self, meter: Meter, options: Options) -> None:
        """Claim `batch` jobs at a time."""
        queue = PgQueuer.from_asyncpg_connection(await asyncpg.connect(self._dsn))

        async def handle(job: Any) -> None:
            meter.count(json.loads(job.payload)["t"])

        queue.entrypoint("noop")(handle)
        await queue.qm.run(batch_size=options["batch"], dequeue_timeout=timedelta(seconds=5))


if __name__ == "__main__":
    uvloop.run(program.run(PgQueuerDriver(program.target())))
