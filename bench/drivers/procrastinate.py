"""Procrastinate's driver: psycopg and asyncio, as its documentation shows."""

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

# The bench installs it into an environment of its own, which mypy does not see.
import procrastinate  # type: ignore[import-not-found, unused-ignore]

from bench.drivers import program
from bench.drivers.meter import Meter
from bench.drivers.program import Options, payload


class ProcrastinateDriver:
    """A driver with one app and one task."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    async def __aenter__(self) -> Self:
        self._app = self._make_app(16)
        self._task = self._app.task(name="noop", queue="q")(_noop)
        await self._app.open_async()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._app.close_async()

    async def setup(self) -> None:
        """Apply Procrastinate's schema."""
        await self._app.schema_manager.apply_schema_async()

    async def batch(self, numbers: Sequence[int]) -> None:
        """Enqueue with one call, which is one statement."""
        await self._task.batch_defer_async(*[payload(number) for number in numbers])

    async def one(self, number: int, called_ns: int) -> None:
        """Enqueue with one call."""
        await self._task.defer_async(**payload(number, called_ns))

    async def work(self, meter: Meter, options: Options) -> None:
        """Work on `concurrency` jobs at a time. Finished jobs are deleted, which is the faster setting."""
        app = self._make_app(max(10, options["concurrency"] // 2))

        async def handle(t: int = 0, **_rest: Any) -> None:
            meter.count(t)

        app.task(name="noop", queue="q")(handle)
        async with app.open_async():
            await app.run_worker_async(
                queues=["q"],
                concurrency=options["concurrency"],
                install_signal_handlers=False,
                delete_jobs="always",
            )

    def _make_app(self, connections: int) -> Any:
        connector = procrastinate.PsycopgConnector(conninfo=self._dsn, min_size=2, max_size=connections)
        return procrastinate.App(connector=connector)


async def _noop(**_payload: Any) -> None:
    """Stand in for the task on the enqueuing side."""


if __name__ == "__main__":
    asyncio.run(program.run(ProcrastinateDriver(program.target())))
