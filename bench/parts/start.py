"""Time the start of the service."""

import asyncio
import shutil
import time
import urllib.request

from bench.drivers.program import Figures
from bench.lab import Lab
from bench.reporting.results import Entrant, Part
from bench.running import service
from bench.running.processes import Failed, memory_mib


async def start(lab: Lab, part: Part) -> None:
    """Time `thumbq serve` from the command to the first answer of /readyz."""

    async def once(dsn: str | None) -> Figures:
        began = time.monotonic()
        async with service.whole(dsn, lab.logs) as (process, _grpc, http):
            await asyncio.to_thread(_first_answer, http)
            return {"seconds": time.monotonic() - began, "mib": memory_mib(process.pid)}

    async def empty() -> Figures:
        shutil.rmtree(lab.logs / "serve", ignore_errors=True)
        return await once(None)

    async def again() -> Figures:
        return await once(None)

    async def on_database() -> Figures:
        async with lab.cluster.database() as database:
            return await once(database.dsn)

    entrants = [
        Entrant("thumbq serve", "an empty folder: PostgreSQL is made first", empty),
        Entrant("thumbq serve", "the same folder again", again),
        Entrant("thumbq serve", "on a PostgreSQL that runs", on_database),
    ]
    await lab.compare(part, entrants)


def _first_answer(address: str) -> None:
    with urllib.request.urlopen(f"http://{address}/readyz", timeout=10) as answer:
        if answer.status != 200:
            raise Failed(f"/readyz answered {answer.status}")
