"""The children of `thumbq serve`: each of them is watched, however many there are."""

import asyncio
import subprocess
from collections.abc import AsyncIterator

import pytest

from tests.processes import is_running
from tests.support.waiting import eventually
from thumbq_launcher.supervisor import keep_running

# asyncio has at most 32 threads for calls that block.
MANY = 33


class Sleeper:
    """A child that does nothing until it is killed."""

    name = "sleeper"

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None

    async def launch(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self.process = subprocess.Popen(["sleep", "600"])

    def kill(self) -> subprocess.Popen[bytes]:
        """Kill the process, and return it."""
        assert self.process
        self.process.kill()
        return self.process


@pytest.fixture
async def sleepers() -> AsyncIterator[list[Sleeper]]:
    """Children that are kept running."""
    sleepers = [Sleeper() for _ in range(MANY)]
    for sleeper in sleepers:
        await sleeper.launch()
    watches = [asyncio.create_task(keep_running(sleeper)) for sleeper in sleepers]
    yield sleepers
    for watch in watches:
        watch.cancel()
    await asyncio.gather(*watches, return_exceptions=True)
    for sleeper in sleepers:
        sleeper.kill().wait()


async def test_the_last_of_many_children_is_started_again_each_time(sleepers: list[Sleeper]) -> None:
    last = sleepers[-1]
    for _ in range(2):
        killed = last.kill()

        async def runs_again(killed: subprocess.Popen[bytes] = killed) -> bool:
            return last.process is not killed

        await eventually(runs_again)
    for other in sleepers[:-1]:
        assert other.process
        assert is_running(other.process.pid)
