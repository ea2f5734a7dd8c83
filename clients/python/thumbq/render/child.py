"""Processes of our own that do what a hostile file could hurt: reading it, and drawing it.

A child gets one JSON object a line, and answers with one a line. `{"failure": sentence}` says that the file is at
fault, `{"bytes": count}` is followed by that many bytes. A child that dies, takes too long or answers nonsense is
replaced for the next request.
"""

import asyncio
import json
import math
import os
import re
import resource
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from thumbq.render.answers import LONGEST_LINE, read_answer

START_SECONDS = 60.0
FAREWELL = 5.0
Reason = Literal["file", "source", "time", "memory", "crash", "storage"]
_MEMORY = re.compile(r"bad_alloc|MemoryError|out of memory|cannot allocate memory|unable to allocate", re.IGNORECASE)
_SECRET = re.compile(
    r"KEY|SECRET|TOKEN|PASS|CREDENTIAL|CONNECTION_STRING|DSN|DATABASE_URL|LISTEN_URL|THUMBQ_MODELS|HEADERS|PROXY"
)
_ADDRESS_WITH_A_USER = re.compile(r"://[^/?#\s]*@")
_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
_CORES = os.cpu_count() or 1


def _without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a child that reads files of strangers: no key of the worker is in it.

    That of its queue, those of its object store and of its models, and whatever else is called or written like one.
    """
    return {
        name: value
        for name, value in environment.items()
        if not _SECRET.search(name.upper()) and not _ADDRESS_WITH_A_USER.search(value)
    }


class RenderFailed(Exception):
    """Says in one sentence why there is no picture, and whether trying again may help.

    `reason` is the word for it in the metrics: the file is at fault, or its source could not give it, or a limit.
    """

    def __init__(self, message: str, *, retryable: bool, reason: Reason | None = None) -> None:
        super().__init__(message)
        self.retryable = retryable
        self.reason: Reason = reason or ("source" if retryable else "file")


class Crashed(RenderFailed):
    """The process died at its work, and neither a limit nor the machine's memory explains it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one picture may take: time in seconds, memory in MB, and a model file in MB."""

    seconds: float = 60.0
    memory: int = 2048
    file: int = 512


class _Use:
    """The most memory (in MB), and the processor seconds, that were seen while a request ran."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._before: float | None = None
        self.memory = 0
        self.processor = 0.0
        self.spent = 0.0

    def look(self) -> bool:
        """Take another look; False when the process has gone."""
        try:
            status = Path(f"/proc/{self._pid}/status").read_text()
            ticks = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        except (FileNotFoundError, ProcessLookupError):
            return False
        if not (data := re.search(r"VmData:\s+(\d+)", status)):
            return False
        self.memory = max(self.memory, int(data[1]) >> 10)
        self.spent = sum(map(int, ticks)) / _CLOCK_TICKS
        self._before = self.spent if self._before is None else self._before
        self.processor = self.spent - self._before
        return True

    async def watch(self) -> None:
        """Look often: a dead process answers no questions."""
        while self.look():  # noqa: ASYNC110 - another process's use is no event to wait for
            await asyncio.sleep(0.1)


class Child:
    """One process and the conversation with it; `doing` is the word for its work in error sentences."""

    def __init__(
        self, doing: str, code: str, arguments: Sequence[str], limits: Limits, environment: Mapping[str, str]
    ) -> None:
        self._doing = doing
        # -P: a file in the present folder must not pass for a library.
        self._command = [sys.executable, "-P", "-c", code, *arguments]
        self._limits = limits
        self._environment = environment
        self._log: IO[bytes] | None = None
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """The process id, while there is a process."""
        return self._process.pid if self._process else None

    async def start(self) -> dict[str, Any]:
        """Start a fresh process, and return its first line, which says that it is ready; raises RenderFailed.

        A driver may crash while it starts, so a process that dies at its start is started once more.
        """
        try:
            return await self._start()
        except Crashed:
            pass
        try:
            return await self._start()
        except Crashed as failure:
            raise RenderFailed(str(failure), retryable=True, reason="crash") from failure

    async def _start(self) -> dict[str, Any]:
        await self.close()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - it is closed with the child
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            str(os.getpid()),
            str(self._limits.memory << 20),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=self._log,
            env=_without_secrets(os.environ | self._environment),
            limit=LONGEST_LINE,
            # Ctrl-C is for the worker alone, which finishes what it holds.
            start_new_session=True,
        )
        try:
            return (await self._converse(None, START_SECONDS, ()))[0]
        except RenderFailed as failure:
            reason = self._last_words().splitlines()[-1:] or [str(failure)]
            kind = Crashed if isinstance(failure, Crashed) else RenderFailed
            raise kind(f"The renderer cannot start: {reason[0]}", retryable=True, reason="crash") from failure

    async def ask(self, request: dict[str, Any], *needed: str) -> tuple[dict[str, Any], bytes]:
        """Answer with the fields `needed`, and content; starts the process when there is none; raises RenderFailed."""
        if self._process is None:
            await self.start()
        answer, content = await self._converse(request, self._limits.seconds, needed)
        if failure := answer.get("failure"):
            reason: Reason | None = "storage" if answer.get("no_room") else None
            raise RenderFailed(failure, retryable=answer.get("retryable", False), reason=reason)
        return answer, content

    async def _converse(
        self, request: dict[str, Any] | None, seconds: float, needed: Sequence[str]
    ) -> tuple[dict[str, Any], bytes]:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        use = _Use(process.pid)
        use.look()
        _bound_processor(process.pid, use.spent + _CORES * seconds)
        watch = asyncio.create_task(use.watch())
        try:
            async with asyncio.timeout(seconds):
                if request:
                    process.stdin.write(json.dumps(request).encode() + b"\n")
                    await process.stdin.drain()
                answer = read_answer(await process.stdout.readuntil(), needed)
                return answer, await process.stdout.readexactly(answer.get("bytes", 0))
        except TimeoutError:
            use.look()
            await self.end()
            raise self._late(seconds, use) from None
        except (asyncio.IncompleteReadError, ConnectionError):
            raise await self._why_silent(process, use) from None
        except (ValueError, asyncio.LimitOverrunError):
            raise await self.end_for_nonsense() from None
        except asyncio.CancelledError:
            await self.end()
            raise
        finally:
            watch.cancel()
            if process.returncode is not None:
                self._process = None

    async def end_for_nonsense(self) -> RenderFailed:
        """End a process whose answer cannot be used, and return what to raise."""
        await self.end()
        return RenderFailed(f"{self._doing} gave an answer that makes no sense.", retryable=False)

    async def end(self) -> None:
        """End the process, if there is one."""
        process, self._process = self._process, None
        if process:
            with suppress(ProcessLookupError):
                process.kill()
            # A read from a file server that hangs can keep even a killed process: it is left to the system then.
            with suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), FAREWELL)

    async def close(self) -> None:
        """End the process, and close what is left of it."""
        await self.end()
        if self._log:
            self._log.close()
            self._log = None

    async def _why_silent(self, process: asyncio.subprocess.Process, use: _Use) -> RenderFailed:
        """Return why a process answers no more. One that does not end by itself is ended."""
        try:
            return self._cause_of_death(await asyncio.wait_for(process.wait(), FAREWELL), use)
        except TimeoutError:
            return await self.end_for_nonsense()
        except asyncio.CancelledError:
            await self.end()
            raise

    def _late(self, seconds: float, use: _Use) -> RenderFailed:
        # A busy machine may be the reason, so another attempt may do.
        spent = f"it used {use.processor:.1f} s of processor time and {use.memory} MB"
        return RenderFailed(
            f"{self._doing} took longer than the limit of {seconds:g} s; {spent}.", retryable=True, reason="time"
        )

    def _cause_of_death(self, exit_code: int, use: _Use) -> RenderFailed:
        limit = f"limit of {self._limits.memory} MB"
        if _MEMORY.search(self._last_words()):
            # The same model needs as much the next time.
            used = f"it had {use.memory} MB when it asked for more"
            return RenderFailed(
                f"{self._doing} needs more memory than the {limit}; {used}.", retryable=False, reason="memory"
            )
        how = signal.Signals(-exit_code).name if exit_code < 0 else f"exit code {exit_code}"
        if exit_code == -signal.SIGKILL:
            why, retryable = ", probably because the machine ran out of memory", True
        elif use.memory > self._limits.memory / 2:
            # The driver does not check what it is given; a request that fails is often the one that doubles.
            why, retryable = f", most likely at the memory {limit}", False
        else:
            return Crashed(f"The renderer crashed on this model ({how}).", retryable=True, reason="crash")
        return RenderFailed(f"The renderer crashed on this model ({how}){why}.", retryable=retryable, reason="memory")

    def _last_words(self) -> str:
        if self._log is None:
            return ""
        size = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), 8192, max(0, size - 8192)).decode(errors="replace").strip()


def _bound_processor(pid: int, seconds: float) -> None:
    """Let the kernel end a process that outruns its time, in case that this one cannot."""
    if sys.platform == "linux":
        with suppress(OSError):
            _, hard = resource.prlimit(pid, resource.RLIMIT_CPU)
            resource.prlimit(pid, resource.RLIMIT_CPU, (math.ceil(seconds) + 1, hard))
