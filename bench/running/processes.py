"""Child processes that never outlive the bench, and the CPU and memory that they use."""

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
_STOP_TIMEOUT = 20.0  # seconds


class Failed(Exception):
    """A measurement failed. The text is the reason, in a line for the table."""


class Process:
    """A running program. Its standard error goes to the file `log`."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self.pid = process.pid
        self.log = log
        self._process = process

    async def line(self) -> bytes:
        """Return the next line of its output, empty at the end. Raises Failed when it ended with an error."""
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line and await self._process.wait():
            raise Failed(self.why_ended())
        return line

    async def write_line(self, line: str) -> None:
        """Write a line to its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        await self._process.stdin.drain()

    def check(self) -> None:
        """Raise Failed when it has ended."""
        if self._process.returncode is not None:
            raise Failed(self.why_ended())

    def why_ended(self) -> str:
        """Return the last error of its log with the lines after it, or the last line."""
        lines = self.log.read_text(errors="replace").strip().splitlines() or ["its log is empty"]
        errors = [index for index, line in enumerate(lines) if _ERROR.match(line)]
        last = errors[-1] if errors else len(lines) - 1
        return f"{self.log.stem} ended: {' '.join(line.strip() for line in lines[last : last + 3])[:300]}"

    async def stop(self, first: signal.Signals = signal.SIGTERM) -> None:
        """Send it `first`, and kill it when it does not end in time."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(first)
            try:
                await asyncio.wait_for(self._process.wait(), _STOP_TIMEOUT)
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
    """Start a program that gets `death_signal` when the bench dies. Call it from the main thread."""
    program = shutil.which(command[0])
    if program is None:
        raise Failed(f"{command[0]} is not installed")
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            *child.ending_with_parent([program, *command[1:]], death_signal),
            # Where Python may write no bytecode, it would compile all modules at each start.
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "", **(environment or {})},
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
    """Start a program, and kill it at the end of the block."""
    process = await start(command, log, environment)
    try:
        yield process
    finally:
        await process.stop(signal.SIGKILL)


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process and of its descendants, ended ones included."""
    seconds = 0.0
    for process in _tree(pid):
        with contextlib.suppress(psutil.NoSuchProcess, FileNotFoundError):
            times = process.cpu_times()
            seconds += _on_cpu(process.pid) + times.children_user + times.children_system
    return seconds


def memory_mib(pid: int) -> float:
    """Return the present memory of a process and its descendants. Shared pages count once."""
    total = 0
    for process in _tree(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += process.memory_full_info().pss
    return total / _MEBIBYTE


def writes(pid: int) -> int:
    """Return the number of write calls that a process and its descendants have made."""
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
    """Return the CPU time of a process from schedstat: clock ticks are too coarse for short measurements."""
    nanoseconds = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            nanoseconds += int((task / "schedstat").read_text().split()[0])
    return nanoseconds / 1e9
