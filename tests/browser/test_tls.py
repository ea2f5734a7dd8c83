"""The page by HTTPS: its stream, its pictures and its buttons stay on the secured origin."""

import asyncio
from pathlib import Path

import aiohttp
from playwright.async_api import Browser, expect

from tests.browser.visit import Visit
from tests.support.network.certificates import Certificates
from tests.support.service.server import running_server
from thumbq_gateway.app import running
from thumbq_gateway.settings import Settings

HASH = "ab" * 32


async def test_the_page_and_the_console_work_by_https(browser: Browser, database_url: str, tmp_path: Path):
    certificates = Certificates(tmp_path / "tls")
    async with running_server(database_url) as address:
        settings = Settings(http_port=0, server=address, queue_watch_linger=0, **certificates.mutual)
        async with (
            running(settings, asyncio.Event()) as port,
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=certificates.context())) as http,
            # No one but this test trusts the authority.
            await browser.new_context(ignore_https_errors=True) as context,
        ):
            url = f"https://127.0.0.1:{port}/"
            visit = Visit(await context.new_page(), url)
            await visit.open()
            async with http.post(f"{url}api/thumbnail-jobs", json={"modelId": 42, "modelHash": HASH}) as answer:
                assert answer.status in {200, 201}
            await expect(visit.card(42)).to_contain_text("Waiting")
            assert await visit.page.evaluate("window.isSecureContext")
            paused = await visit.page.evaluate(
                """async () => (await fetch("/api/admin/pause", {
                    method: "POST", headers: {"Content-Type": "application/json"}, body: "{}",
                })).status"""
            )
            assert paused == 200
            assert visit.complaints == []
