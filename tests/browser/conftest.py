"""A real Chromium and the real service. Each test has its own server, gateway and database."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, BrowserContext, async_playwright, expect

from tests.browser.console import Console
from tests.browser.visit import Visit
from tests.support.service.service import Service

QUIET_CHROMIUM = [
    "--no-sandbox",  # CI runs as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP *.example 127.0.0.1",  # names of strangers that lead here
]

expect.set_options(timeout=30_000)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.chromium)


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("Chromium is not installed (apt-get install chromium)")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=QUIET_CHROMIUM)
        yield browser
        await browser.close()


@pytest.fixture
async def service(database_url: str, tmp_path: Path) -> AsyncIterator[Service]:
    async with Service.started(database_url, tmp_path) as service:
        yield service


@pytest.fixture
async def visit(browser: Browser, service: Service) -> AsyncIterator[Visit]:
    """Open the page. The test fails if the browser reports an error."""
    async with await browser.new_context() as context:
        visit = Visit(await context.new_page(), service.url)
        await visit.open()
        yield visit
        assert visit.complaints == []


@pytest.fixture
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    """A browser whose pages a test may fill with scripts of its own."""
    async with await browser.new_context(bypass_csp=True) as context:
        yield context


@pytest.fixture
async def console(browser: Browser, service: Service) -> AsyncIterator[Console]:
    """Open the console. The test fails if the browser reports an error."""
    async with await browser.new_context() as context:
        console = Console(await context.new_page(), service.url)
        await console.open()
        yield console
        assert console.complaints == []
