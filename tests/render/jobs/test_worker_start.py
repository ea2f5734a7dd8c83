"""`thumbq worker` that is told to end while it starts."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.network.ports import free_port
from tests.support.service.served import THUMBQ
from tests.support.waiting import eventually
from thumbq.render.system_libraries import advice, missing_libraries

MISSING = missing_libraries()
pytestmark = [pytest.mark.skipif(bool(MISSING), reason=advice(MISSING)), pytest.mark.timeout(300)]


@asynccontextmanager
async def starting(folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start a worker whose server is away. What it makes for its renderers is in the folder."""
    process = await asyncio.create_subprocess_exec(
        THUMBQ,
        "worker",
        f"--models={folder}",
        f"--thumbnail-root={folder}",
        "--concurrency=1",
        env=os.environ | {"TMPDIR": str(folder), "THUMBQ_SERVER": f"127.0.0.1:{free_port()}"},
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def ends(process: asyncio.subprocess.Process) -> tuple[int | None, str]:
    """Return the exit code of a process, and what it says of a failure."""
    _, errors = await process.communicate()
    return process.returncode, "".join(line for line in errors.decode().splitlines() if "Traceback" in line)


async def test_sigterm_ends_a_worker_that_loads_its_libraries(tmp_path: Path):
    async with starting(tmp_path) as process:

        async def takes_sigterm() -> bool:
            status = Path(f"/proc/{process.pid}/status").read_text()
            (caught,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:"))
            return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)

        await eventually(takes_sigterm, 120)
        process.send_signal(signal.SIGTERM)
        assert await ends(process) == (0, "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_a_worker_whose_renderers_start(tmp_path: Path, number: signal.Signals):
    async with starting(tmp_path) as process:

        async def has_children() -> bool:
            return bool(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text())

        await eventually(has_children, 120)
        process.send_signal(number)
        assert await ends(process) == (0, "")
    assert list(tmp_path.iterdir()) == []
