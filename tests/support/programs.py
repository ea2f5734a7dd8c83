"""The programs of a run: each can be killed and restarted, and none outlives the run."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.processes import descendants
from thumbq_launcher.child import ending_with_parent
from thumbq_launcher.processes import describe_end

PROJECT = Path(__file__).parents[2]


class LaunchFailed(Exception):
    """The program ended before it was ready."""


class Program:
    """A Python module that runs as a process under a name. Its output goes to `name`.log."""

    def __init__(
        self,
        name: str,
        module: str,
        folder: Path,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        says_ready: bool = True,
        dies_by: signal.Signals = signal.SIGKILL,
    ) -> None:
        self.name = name
        self.environment = dict(environment or {})
        # The facts that it reported when it was ready.
        self.ready: dict[str, Any] = {}
        # Whether the run expects it to be up: if it ends then, it ended by itself.
        self.expected_up = False
        self._command = [sys.executable, "-m", module, *arguments]
        self._log = folder / f"{name}.log"
        self._says_ready = says_ready
        self._dies_by = dies_by
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def messages(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    async def launch(self) -> None:
        """Start the process, and wait until it is ready. Raises LaunchFailed."""
        self.spawn()
        await self.readiness()

    def spawn(self) -> None:
        self._readable, writable = os.pipe()
        inherited = {name: value for name, value in os.environ.items() if "DATABASE_URL" not in name}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                ending_with_parent(self._command, self._dies_by),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=PROJECT,
                env={**inherited, **self.environment, "THUMBQ_READY_FD": str(writable)},
                pass_fds=[writable],
                start_new_session=True,
            )
        os.close(writable)

    async def readiness(self) -> None:
        try:
            if self._says_ready:
                line = await _first_line(self._readable)
                if not line:
                    code = await self.end(5.0)
                    raise LaunchFailed(
                        f"{self.name} {describe_end(code)} before it was ready:\n{self.messages[-2000:]}"
                    )
                self.ready = json.loads(line)
            self.expected_up = True
        finally:
            os.close(self._readable)

    def send(self, number: signal.Signals) -> None:
        if self.running:
            os.kill(self.pid, number)

    async def end(self, seconds: float) -> int:
        """Wait for its end, and return the exit code. Raises TimeoutError after `seconds`."""
        assert self._process is not None
        deadline = time.monotonic() + seconds
        while (code := self._process.poll()) is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name} is still running {seconds:g} s after it was asked to end")
            await asyncio.sleep(0.02)
        return code

    def kill_all(self) -> None:
        """Kill it and its descendants."""
        if self._process is not None:
            left = descendants(self.pid) if self.running else set[int]()
            for process in {self.pid, *left} if self.running else left:
                _send(process, signal.SIGKILL)
            self._process.wait()


def send_to_descendants(process: int, number: signal.Signals) -> None:
    for each in descendants(process):
        _send(each, number)


def _send(process: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, number)


async def _first_line(pipe: int) -> bytes:
    """Return the first line from a pipe, or nothing at its end. Poll, since a blocked thread could not be cancelled."""
    os.set_blocking(pipe, False)
    line = b""
    while not line.endswith(b"\n"):
        try:
            piece = os.read(pipe, 4096)
        except BlockingIOError:
            await asyncio.sleep(0.01)
            continue
        if not piece:
            return b""
        line += piece
    return line


def say_ready(**facts: object) -> None:
    """Report from a program to the run that it is ready."""
    with os.fdopen(int(os.environ["THUMBQ_READY_FD"]), "w") as pipe:
        pipe.write(json.dumps(facts) + "\n")
