"""Pages in Chromium, from another origin and with credentials, on the client library that the real ones use."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from playwright.async_api import Browser, Page, async_playwright

from tests.browser.conftest import QUIET_CHROMIUM
from tests.compatibility.hubs.wire import address
from tests.compatibility.pictures import picture
from tests.compatibility.programs import FOLDER
from tests.support.network.http_client import Client
from tests.support.service.gateway import running_gateway

pytestmark = [pytest.mark.chromium]
LIBRARY = FOLDER / "node_modules" / "@microsoft" / "signalr" / "dist" / "browser" / "signalr.js"
TRANSPORTS = ["WebSockets", "ServerSentEvents", "LongPolling"]
# Joins the groups; the promise in `window` resolves with the first Ready event.
HEAR = """async ([url, transport]) => {
    const connection = new signalR.HubConnectionBuilder()
        .withUrl(`${url}/thumbnailHub`, { transport: signalR.HttpTransportType[transport], withCredentials: true })
        .configureLogging(signalR.LogLevel.Error).build();
    window.heard = new Promise((resolve) => connection.on("ThumbnailStatusChanged", (changed) => {
        if (changed.status === "Ready") resolve(changed);
    }));
    await connection.start();
    await Promise.all([connection.invoke("JoinAllModelsGroup"), connection.invoke("JoinAllEnvironmentMapsGroup")]);
    window.connection = connection;
}"""


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("Chromium is not installed (apt-get install chromium)")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=QUIET_CHROMIUM)
        yield browser
        await browser.close()


@asynccontextmanager
async def site() -> AsyncIterator[str]:
    """Where a page and the library come from: an origin of its own."""
    if not LIBRARY.exists():
        pytest.skip("the clients are not installed (make test installs them where npm is there)")

    async def page(_request: web.Request) -> web.Response:
        return web.Response(text="<!doctype html><script src=/signalr.js></script>", content_type="text/html")

    async def library(_request: web.Request) -> web.FileResponse:
        return web.FileResponse(LIBRARY)

    app = web.Application()
    app.add_routes([web.get("/page", page), web.get("/signalr.js", library)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://localhost:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def opened(browser: Browser, origin: str) -> AsyncIterator[Page]:
    async with await browser.new_context() as context:
        page = await context.new_page()
        await page.goto(f"{origin}/page")
        yield page


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_page_of_another_origin_hears_over_any_transport(browser: Browser, server: str, transport: str) -> None:
    async with (
        site() as origin,
        running_gateway(server, cors_origins=frozenset({origin})) as http,
        opened(browser, origin) as page,
    ):
        await page.evaluate(HEAR, [address(http), transport])
        await Client(http).announce(42, thumbnailUrl="/models/42/thumbnail/file")
        changed = await page.evaluate("window.heard")
        assert (changed["modelId"], changed["thumbnailUrl"]) == (42, "/models/42/thumbnail/file")
        await page.evaluate("window.connection.stop()")


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_page_of_a_foreign_origin_gets_nothing(browser: Browser, server: str, transport: str) -> None:
    async with (
        site() as origin,
        running_gateway(server, cors_origins=frozenset({"https://other.example"})) as http,
        opened(browser, origin) as page,
    ):
        code = f"(given) => ({HEAR})(given).then(() => '', (error) => error.message)"
        assert await page.evaluate(code, [address(http), transport])
        bare = (
            "async (url) => await new Promise((resolve) => { const socket = new WebSocket(url);"
            " socket.onopen = () => resolve('open'); socket.onerror = () => resolve('refused'); })"
        )
        url = address(http).replace("http", "ws") + "/thumbnailHub"
        assert await page.evaluate(bare, url) == "refused"


async def test_other_requests_with_credentials_are_let_through_too(browser: Browser, server: str) -> None:
    async with (
        site() as origin,
        running_gateway(server, cors_origins=frozenset({origin})) as http,
        opened(browser, origin) as page,
    ):
        await Client(http).enqueue(42)
        asked = """async (url) => {
            const answer = await fetch(`${url}/models/42/thumbnail`, {
                credentials: "include", headers: { "X-Requested-With": "XMLHttpRequest" } });
            return (await answer.json()).status;
        }"""
        assert await page.evaluate(asked, address(http)) == "Pending"
        heard = """(url) => new Promise((resolve) => {
            const source = new EventSource(`${url}/api/notifications?after=earliest`, { withCredentials: true });
            source.addEventListener("thumbnail", (event) => {
                source.close();
                resolve(JSON.parse(event.data).modelId);
            });
        })"""
        assert await page.evaluate(heard, address(http)) == 42


async def test_a_page_that_fetches_its_picture_in_a_loop_asks_the_gateway_at_most_five_times(
    browser: Browser, server: str, thumbnail_root: Path
) -> None:
    async with (
        site() as application,
        running_gateway(server, thumbnail_root=thumbnail_root, upstream=application) as http,
        opened(browser, address(http)) as page,
    ):
        client = Client(http)
        (thumbnail_root / "42").write_bytes(picture("WEBP"))
        await client.enqueue(42)
        job = await client.dequeue()
        body = {"thumbnailPath": str(thumbnail_root / "42"), "sizeBytes": 1, "width": 64, "height": 48}
        await client.post(f"/api/thumbnail-jobs/{job['id']}/complete", body)
        transferred = """async () => {
            performance.setResourceTimingBufferSize(1000);
            for (let count = 0; count < 200; count += 1) {
                await (await fetch("/models/42/thumbnail/file")).arrayBuffer();
            }
            const entries = performance.getEntriesByType("resource").filter(({ name }) => name.endsWith("/file"));
            return [entries.length, entries.filter(({ transferSize }) => transferSize > 0).length];
        }"""
        fetched, asked = await page.evaluate(transferred)
        assert fetched == 200
        assert 1 <= asked <= 5
