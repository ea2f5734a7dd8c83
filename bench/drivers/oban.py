"""Oban's driver: psycopg's pool and uvloop, as its documentation shows."""

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import uvloop

# The bench installs it into an environment of its own, which mypy does not see.
from oban import Oban, worker  # type: ignore[import-not-found, unused-ignore]
from oban.schema import install  # type: ignore[import-not-found, unused-ignore]
from psycopg_pool import AsyncConnectionPool  # type: ignore[import-not-found, unused-ignore]

from bench.drivers import program
from bench.drivers.meter import Meter
from bench.drivers.program import Options, payload

_QUEUE = "noop"
_meters: list[Meter] = []


@worker(queue=_QUEUE)
class _Noop:
    """A handler that counts."""

    async def process(self, job: Any) -> None:
        """Count one job."""
        _meters[0].count(job.args["t"])


Noop: Any = _Noop  # the decorator adds `new`


class ObanDriver:
    """A driver that enqueues over a pool, and works over another one."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    async def __aenter__(self) -> Self:
        self._pool = await self._open(16)
        self._oban = Oban(pool=self._pool)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._pool.close()

    async def _open(self, size: int) -> Any:
        pool = AsyncConnectionPool(self._dsn, min_size=2, max_size=size, open=False)
        await pool.open()
        return pool

    async def setup(self) -> None:
        """Make Oban's tables."""
        await install(self._pool)

    async def batch(self, numbers: Sequence[int]) -> None:
        """Enqueue with one call, which is one statement."""
        await self._oban.enqueue_many([Noop.new(payload(number)) for number in numbers])

    async def one(self, number: int, called_ns: int) -> None:
        """Enqueue with one call."""
        await self._oban.enqueue(Noop.new(payload(number, called_ns)))

    async def work(self, meter: Meter, options: Options) -> None:
        """Run `limit` jobs at once, and look for more without a pause."""
        _meters.append(meter)
        queues = {_QUEUE: {"limit": options["limit"], "debounce_interval": 0.0}}
        async with Oban(pool=await self._open(8), queues=queues):
            await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(program.run(ObanDriver(program.target())))
