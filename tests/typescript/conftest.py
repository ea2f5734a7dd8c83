"""A real service for each test of the TypeScript client, and node, which runs the test."""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from tests.support.network.line import Line
from tests.support.service.service import Service
from tests.typescript.compiler import compiled
from tests.typescript.control import control

RunTest = Callable[[str, str], Awaitable[None]]
NODE_TIMEOUT = 240.0  # seconds for one run of node


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.node)


@pytest.fixture(scope="session")
async def compiled_tests() -> Path:
    """Compile the tests. Returns their folder."""
    return await asyncio.to_thread(compiled)


@pytest.fixture
async def service_environment(
    compiled_tests: Path, database_url: str, empty_database_url: str, tmp_path: Path
) -> AsyncIterator[dict[str, str]]:
    """Run a service for one test. Yields environment variables: addresses, and the folder of the pictures."""
    async with (
        Service.started(database_url, tmp_path, heartbeat=0.3) as service,
        Line.to(service.port) as line,
        control(service, line, empty_database_url) as controls,
    ):
        yield {
            "THUMBQ_URL": service.url,
            "THUMBQ_LINE_URL": f"http://127.0.0.1:{line.port}/",
            "THUMBQ_CONTROL_URL": controls,
            "THUMBQ_FOLDER": str(tmp_path),
        }


@pytest.fixture
def run_in_node(compiled_tests: Path, service_environment: dict[str, str]) -> RunTest:
    """Return a function that runs one test, named by its file and sentence, against the service."""

    async def run(name: str, sentence: str) -> None:
        pattern = f"^{re.escape(sentence)}$"
        await node(compiled_tests / f"{name}.test.js", service_environment, "--test-name-pattern", pattern)

    return run


async def node(script: Path, service_environment: dict[str, str], *options: str) -> None:
    """Run tests in node. At least one of the chosen tests must pass, and none may fail."""
    # Without --test, which would start another node for the file.
    process = await asyncio.create_subprocess_exec(
        "node",
        "--test-reporter=tap",
        *options,
        script,
        env={**os.environ, **service_environment, "NODE_OPTIONS": ""},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(NODE_TIMEOUT):
            output = (await process.communicate())[0].decode()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, output
    assert re.search(r"^# pass [1-9]", output, re.MULTILINE), output
