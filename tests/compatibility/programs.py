"""The node programs that behave as the workers and pages of Modelibr do, with the libraries that these use."""

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import pytest

FOLDER = Path(__file__).parent / "clients"
PATIENCE = 120.0  # seconds
Json = dict[str, Any]


class Program:
    """One of them, and the lines that it writes."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    @classmethod
    @asynccontextmanager
    async def started(cls, name: str, *arguments: str, **environment: str) -> AsyncIterator[Self]:
        if shutil.which("node") is None:
            pytest.skip("node is not installed")
        if not (FOLDER / "node_modules").exists():
            pytest.skip("the clients are not installed (make test installs them where npm is there)")
        process = await asyncio.create_subprocess_exec(
            "node",
            FOLDER / f"{name}.mjs",
            *arguments,
            env={**os.environ, "NODE_OPTIONS": "", "NODE_NO_WARNINGS": "1", **environment},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            yield cls(process)
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()

    async def line(self) -> Json:
        """What it says next."""
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            text = await self.process.stdout.readline()
        if not text:
            raise EOFError
        said: Json = json.loads(text)
        return said

    async def says(self, key: str, value: object = None) -> Json:
        """The next line with this key, and with this value if one is given; others are passed over."""
        while True:
            said = await self.line()
            if key in said and value in (None, said[key]):
                return said

    async def end(self) -> int:
        """Asks it to end, and waits for that."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"end\n")
        await self.process.stdin.drain()
        async with asyncio.timeout(PATIENCE):
            return await self.process.wait()
