"""Children that never outlive the bench, and what they use of the machine."""

import asyncio
import contextlib
import os
import re
import shutil
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import psutil

from thumbq_launcher import child

_MEBIBYTE = 1 << 20
_ERROR = re.compile(r"[\w.\[\] ]*(Error|Exception|Failed)\b")
_PATIENCE = 20.0  # seconds that a process may take to end in order


class Failed(Exception):
    """A measurement did not come about; says why, in a line for the table."""


class Process:
    """A running program. What it says on standard error is in the file `log`."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self.pid = process.pid
        self.log = log
        self._process = process

    async def line(self) -> bytes:
        """The next line of its output; empty at the end. Raises Failed when it ended badly."""
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line and await self._process.wait():
            raise Failed(self.last_words())
        return line

    async def tell(self, line: str) -> None:
        """Write a line to its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        await self._process.stdin.drain()

    def check(self) -> None:
        """Raise Failed when it has ended."""
        if self._process.returncode is not None:
            raise Failed(self.last_words())

    def last_words(self) -> str:
        """What its log says about its end: an error where there is one, and the lines that explain it."""
        said = self.log.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
        errors = [index for index, line in enumerate(said) if _ERROR.match(line)]
        last = errors[-1] if errors else len(said) - 1
        return f"{self.log.stem} ended: {' '.join(line.strip() for line in said[last : last + 3])[:300]}"

    async def stop(self, first: signal.Signals = signal.SIGTERM) -> None:
        """End it: in order if it can, and then for certain."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(first)
            try:
                await asyncio.wait_for(self._process.wait(), _PATIENCE)
            except TimeoutError:
                self._process.kill()
        await self._process.wait()


async def start(
    command: Sequence[str],
    log: Path,
    environment: Mapping[str, str] | None = None,
    *,
    pass_fds: Sequence[int] = (),
    death_signal: signal.Signals = signal.SIGKILL,
) -> Process:
    """Start a program that gets the signal should the bench die. Call it from the main thread."""
    program = shutil.which(command[0])
    if program is None:
        raise Failed(f"{command[0]} is not installed")
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            *child.ending_with_parent([program, *command[1:]], death_signal),
            env={**os.environ, **(environment or {})},
            pass_fds=pass_fds,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            limit=1 << 24,
        )
    return Process(process, log)


@contextlib.asynccontextmanager
async def running(
    command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Process]:
    """A program that is killed at the end of the block."""
    process = await start(command, log, environment)
    try:
        yield process
    finally:
        await process.stop(signal.SIGKILL)


def cpu_seconds(pid: int) -> float:
    """Of a process, of all that it started, and of those of them that have ended."""
    seconds = 0.0
    for process in _tree(pid):
        with contextlib.suppress(psutil.NoSuchProcess, FileNotFoundError):
            times = process.cpu_times()
            seconds += _on_cpu(process.pid) + times.children_user + times.children_system
    return seconds


def memory_mib(pid: int) -> float:
    """Of a process and of all that it started, now. What several share counts once."""
    total = 0
    for process in _tree(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += process.memory_full_info().pss
    return total / _MEBIBYTE


def writes(pid: int) -> int:
    """Calls that a process, and what it started, has made to write."""
    count = 0
    for process in _tree(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            count += process.io_counters().write_count
    return count


def _tree(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    return []


def _on_cpu(pid: int) -> float:
    """Seconds of CPU of a process, to the nanosecond: clock ticks are too coarse for short measurements."""
    nanoseconds = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            nanoseconds += int((task / "schedstat").read_text().split()[0])
    return nanoseconds / 1e9
