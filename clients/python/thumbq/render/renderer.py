"""Renders models in a process of its own, so that a bad model costs its job and nothing else.

The process stays for many models, because starting it takes longer than most pictures. It is asked with a line
`{"model": path, "format": word}` and answers `{"bytes": count}` with so many bytes of picture after it, or
`{"failure": sentence}` when the model is at fault. A process that dies, or is ended for taking too long, is
replaced for the next model.
"""

import asyncio
import json
import os
import re
import signal
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

# A picture's width and height in pixels.
SIZE = 512

# A renderer that grows does so slowly; it starts afresh after so many pictures.
PICTURES = 100
START_SECONDS = 60.0
_MEMORY = re.compile(r"bad_alloc|MemoryError|out of memory|cannot allocate memory|unable to allocate", re.IGNORECASE)


class RenderFailed(Exception):
    """Says in one sentence why there is no picture, and whether trying again may help."""

    def __init__(self, message: str, *, retryable: bool) -> None:
        super().__init__(message)
        self.retryable = retryable


@dataclass(frozen=True, slots=True)
class Limits:
    """What one picture may take: time in seconds, memory in MB."""

    seconds: float = 60.0
    memory: int = 2048


class Renderer:
    """Draws one model at a time, in a process that it starts when there is none; `threads` are for each picture."""

    def __init__(self, limits: Limits, threads: int = 1) -> None:
        self._limits = limits
        self._threads = threads
        self._process: asyncio.subprocess.Process | None = None
        self._pictures = 0
        self._most_memory = 0

    async def __aenter__(self) -> Self:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - it is left with the renderer
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._end()
        self._log.close()

    @property
    def pid(self) -> int | None:
        """The process id, while there is a process."""
        return self._process.pid if self._process else None

    async def render(self, model: Path, model_format: str) -> bytes:
        """A WebP picture of the model; raises RenderFailed."""
        if self._process is None or self._pictures >= PICTURES:
            await self.start()
        self._pictures += 1
        answer, content = await self._ask({"model": str(model), "format": model_format}, self._limits.seconds)
        if failure := answer.get("failure"):
            raise RenderFailed(failure, retryable=False)
        return content

    async def start(self) -> None:
        """Start a fresh process, and wait until it can draw; raises RenderFailed."""
        await self._end()
        self._log.truncate(0)
        self._log.seek(0)
        # -P: a file in the present folder shall not pass for a library.
        command = [sys.executable, "-P", "-c", "import f3d, thumbq.render.process as p; p.main()"]
        self._process = await asyncio.create_subprocess_exec(
            *command,
            str(os.getpid()),
            str(self._limits.memory << 20),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=self._log,
            env=os.environ | {"LP_NUM_THREADS": str(self._threads)},
            # Ctrl-C is for the worker alone, which finishes what it holds.
            start_new_session=True,
        )
        self._pictures = 0
        try:
            await self._ask(None, START_SECONDS)
        except RenderFailed as failure:
            reason = self._last_words().splitlines()[-1:] or [str(failure)]
            raise RenderFailed(f"The renderer cannot start: {reason[0]}", retryable=True) from failure

    async def _ask(self, request: dict[str, Any] | None, seconds: float) -> tuple[dict[str, Any], bytes]:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        watch = asyncio.create_task(self._watch_memory(process.pid))
        try:
            async with asyncio.timeout(seconds):
                if request:
                    process.stdin.write(json.dumps(request).encode() + b"\n")
                    await process.stdin.drain()
                header = json.loads(await process.stdout.readuntil())
                return header, await process.stdout.readexactly(header.get("bytes", 0))
        except TimeoutError:
            await self._end()
            # A busy machine may be the reason, so another attempt may do.
            raise RenderFailed(f"Rendering took longer than the limit of {seconds:g} s.", retryable=True) from None
        except (asyncio.IncompleteReadError, ConnectionError):
            raise self._cause_of_death(await process.wait()) from None
        except asyncio.CancelledError:
            await self._end()
            raise
        finally:
            watch.cancel()
            if process.returncode is not None:
                self._process = None

    def _cause_of_death(self, exit_code: int) -> RenderFailed:
        limit = f"limit of {self._limits.memory} MB"
        if _MEMORY.search(self._last_words()):
            # The same model needs as much the next time.
            return RenderFailed(f"Rendering needs more memory than the {limit}.", retryable=False)
        how = signal.Signals(-exit_code).name if exit_code < 0 else f"exit code {exit_code}"
        if exit_code == -signal.SIGKILL:
            why, retryable = ", probably because the machine ran out of memory", True
        elif self._most_memory > self._limits.memory / 2:
            # The driver does not check what it is given; a request that fails is often the one that doubles.
            why, retryable = f", most likely at the memory {limit}", False
        else:
            why, retryable = "", True
        return RenderFailed(f"The renderer crashed on this model ({how}){why}.", retryable=retryable)

    async def _watch_memory(self, pid: int) -> None:
        """Keep the most that the limit has counted; nobody can ask a dead process for it."""
        self._most_memory = 0
        while data := re.search(r"VmData:\s+(\d+)", _status(pid)):
            self._most_memory = max(self._most_memory, int(data[1]) >> 10)
            await asyncio.sleep(0.1)

    def _last_words(self) -> str:
        size = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), 8192, max(0, size - 8192)).decode(errors="replace").strip()

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def _status(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
