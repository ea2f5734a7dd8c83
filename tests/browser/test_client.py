"""The TypeScript client in pages of other origins: the README's example, and outages of the service."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from playwright.async_api import Browser, Page, expect

from tests.support.service.service import Service

README = Path(__file__).parents[2] / "README.md"
SHOW = """
    function show(status, pictureUrl) {
        document.querySelector("output").textContent = status;
        document.querySelector("img").src = pictureUrl ?? "data:,";
    }
"""
FOLLOW = """
    import { follow } from "thumbq";
    follow({ url: "http://localhost:5009", modelIds: [42], longestPause: 1000,
        onThumbnail: ({ status, pictureUrl }) => show(status, pictureUrl) });
"""
LISTEN = """
    import { subscribe } from "thumbq";
    window.seen = { models: [], states: [], resets: 0 };
    subscribe({
        url: "http://localhost:5009",
        modelIds: [1, 2, 3, 4],
        longestPause: 1000,
        onThumbnail: ({ modelId }) => seen.models.push(modelId),
        onReset: () => (seen.resets += 1),
        onConnection: (state) => seen.states.push(state),
    });
"""


@pytest.fixture
async def service(database_url: str, tmp_path: Path) -> AsyncIterator[Service]:
    """Run a service whose gateway allows pages of every origin."""
    async with Service.started(database_url, tmp_path, cors_origins="*") as service:
        yield service


async def test_the_three_lines_of_the_readme_keep_a_picture_up_to_date(browser: Browser, service: Service):
    lines = re.search(r"```js\n(import .*?)```", README.read_text(), re.DOTALL)
    assert lines
    async with opened(browser, service, lines[1]) as page:
        await expect(page.locator("output")).to_have_text("Pending")
        await service.enqueue(42)
        await service.complete(await service.dequeue())
        await expect(page.locator("output")).to_have_text("Ready")
        await expect(page.get_by_role("img")).to_have_js_property("naturalWidth", 256)


async def test_a_page_misses_nothing_through_restarts_of_the_gateway(browser: Browser, service: Service):
    async with opened(browser, service, LISTEN) as page:
        await state(page, "live")
        for first, second in ((1, 2), (3, 4)):
            await service.announce(first, status="Ready")
            await received(page, first)
            await service.stop_gateway()
            await state(page, "reconnecting")
            await service.announce_at_server(second)
            await service.start_gateway()
            await state(page, "live")
            await received(page, second)
        assert await page.evaluate("[seen.models, seen.resets]") == [[1, 2, 3, 4], 0]


async def test_a_page_that_follows_loads_anew_when_the_log_is_another_one(
    browser: Browser, service: Service, empty_database_url: str
):
    await service.enqueue(42)
    await service.complete(await service.dequeue())
    async with opened(browser, service, FOLLOW) as page:
        await expect(page.locator("output")).to_have_text("Ready")
        await expect(page.get_by_role("img")).to_have_js_property("naturalWidth", 256)
        await service.stop_server()
        await service.start_server(empty_database_url)
        await expect(page.locator("output")).to_have_text("Pending")
        await expect(page.get_by_role("img")).to_have_js_property("naturalWidth", 0)
        await service.announce_at_server(42)
        await expect(page.locator("output")).to_have_text("Ready")


async def state(page: Page, name: str) -> None:
    await page.wait_for_function("name => window.seen?.states.at(-1) === name", arg=name)


async def received(page: Page, model_id: int) -> None:
    await page.wait_for_function("modelId => seen.models.at(-1) === modelId", arg=model_id)


@asynccontextmanager
async def opened(browser: Browser, service: Service, script: str) -> AsyncIterator[Page]:
    """Open a page on another port. It runs the script with the package from the gateway."""
    imports = json.dumps({"imports": {"thumbq": f"{service.url}static/thumbq/index.js"}})
    html = f"""<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><img alt="model 42"><output></output>
        <script type="importmap">{imports}</script>
        <script>{SHOW}</script>
        <script type="module">{script.replace("http://localhost:5009", service.url)}</script>"""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text=html, content_type="text/html")

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with await browser.new_context() as context:
            page = await context.new_page()
            await page.goto(f"http://127.0.0.1:{runner.addresses[0][1]}/")
            yield page
    finally:
        await runner.cleanup()
