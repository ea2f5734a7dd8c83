"""A page of an application, in a real browser: it has no key, and reads with the tickets that its application makes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from PIL import Image
from playwright.async_api import Browser, Page, expect

from tests.gateway.access.test_keys import Guarded, guarded
from tests.support.service.keys import bearer
from tests.support.waiting import eventually
from thumbq import Client

CLIENT = Path(__file__).parents[2] / "gateway/thumbq_gateway/static/thumbq"
PAGE = """
<!doctype html><title>A gallery</title>
<thumbq-thumbnail model-id="7" url="GATEWAY"></thumbq-thumbnail>
<script type="module">
    import { Thumbq, subscribe } from "/thumbq/index.js";
    import { ThumbnailElement } from "/thumbq/element.js";
    const url = "GATEWAY";
    const ticket = async () => {
        const answer = await fetch("/ticket");
        if (!answer.ok) throw new Error(`there is no ticket: ${answer.status}`);
        return answer.text();
    };
    window.seen = { client: [], browser: [], states: [], resets: 0 };
    ThumbnailElement.setAccess({ ticket }, url.replace(/\\/$/, ""));
    subscribe({
        url, ticket, longestPause: 1000,
        onThumbnail: ({ modelId, errorMessage }) => seen.client.push(`${modelId} ${errorMessage}`),
        onReset: () => (seen.resets += 1),
        onConnection: (state) => seen.states.push(state),
    });
    const native = new EventSource(`${url}api/notifications?ticket=${await ticket()}`);
    native.addEventListener("thumbnail", ({ data }) => seen.browser.push(JSON.parse(data).modelId));
    native.onopen = () => seen.states.push("native");
    window.jobs = () => new Thumbq({ url, ticket }).jobs().then(() => "read", (error) => error.httpStatus);
</script>
"""


@pytest.fixture
async def queue(database_url: str, tmp_path: Path) -> AsyncIterator[Guarded]:
    async with guarded(database_url, thumbnail_root=tmp_path, cors_origins="*") as queue:
        yield queue


@asynccontextmanager
async def gallery(browser: Browser, queue: Guarded, models: list[int], life: int) -> AsyncIterator[Page]:
    """The page of an application at another origin, whose tickets are for these models and end after `life` seconds."""
    async with Client(queue.server, api_key=queue.keys["producer"]) as client:

        async def page(_request: web.Request) -> web.Response:
            text = PAGE.replace("GATEWAY", f"{queue.http._base_url}/")
            return web.Response(text=text, content_type="text/html")

        async def ticket(_request: web.Request) -> web.Response:
            return web.Response(text=await client.create_ticket(models, life=life))

        app = web.Application()
        app.add_routes([web.get("/", page), web.get("/ticket", ticket), web.static("/thumbq", CLIENT)])
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with await browser.new_context() as context:
            opened = await context.new_page()
            await opened.goto(f"http://localhost:{runner.addresses[0][1]}/")
            yield opened
        await runner.cleanup()


async def announce(queue: Guarded, model_id: int, text: str) -> None:
    body = {"status": "Failed", "errorMessage": text}
    assert await queue.status("POST", f"/api/test/thumbnail-complete/{model_id}", "admin", json=body) == 200


async def render(queue: Guarded, folder: Path, model_id: int) -> None:
    job = {"modelId": model_id, "modelHash": "ab" * 32}
    assert await queue.status("POST", "/api/thumbnail-jobs", "producer", json=job) == 200
    headers = bearer(queue.keys["worker"])
    async with queue.http.post("/api/thumbnail-jobs/dequeue", json={"workerId": "w"}, headers=headers) as response:
        claimed = await response.json()
    path = folder / f"{model_id}.png"
    Image.new("RGB", (256, 128)).save(path)
    picture = {"thumbnailPath": str(path), "sizeBytes": path.stat().st_size, "width": 256, "height": 128}
    body = picture | {"leaseToken": claimed["leaseToken"]}
    assert await queue.status("POST", f"/api/thumbnail-jobs/{claimed['id']}/complete", "worker", json=body) == 200


async def test_a_page_shows_its_model_and_misses_nothing_when_tickets_end(
    browser: Browser, queue: Guarded, tmp_path: Path
) -> None:
    async with gallery(browser, queue, [7], life=10) as page:
        await page.wait_for_function("() => seen.states.includes('live') && seen.states.includes('native')")
        await render(queue, tmp_path, 7)
        picture = page.get_by_role("img", name="Thumbnail of model 7")
        await expect(picture).to_have_js_property("naturalWidth", 256)
        assert "ticket=tt1." in str(await picture.get_attribute("src"))
        await page.wait_for_function("() => seen.browser.includes(7)")
        assert await page.evaluate("jobs()") == 403
        count = 0
        async with asyncio.timeout(120):
            # An event every moment, until the stream has ended with its ticket and goes on with another.
            while "reconnecting" not in (states := await page.evaluate("seen.states")) or states[-1] != "live":
                count += 1
                await announce(queue, 9, "of another model")
                await announce(queue, 7, str(count))
                await asyncio.sleep(0.1)  # so that the rate of announcements is never reached
        await announce(queue, 7, "the last")
        await page.wait_for_function("() => seen.client.includes('7 the last')")
        failed = [text for text in await page.evaluate("seen.client") if text != "7 null"]
        assert failed == [*(f"7 {number}" for number in range(1, count + 1)), "7 the last"]
        assert await page.evaluate("[seen.resets, new Set(seen.browser).size]") == [0, 1]


async def test_a_model_that_is_newer_than_the_ticket_is_shown_beside_the_others(
    browser: Browser, queue: Guarded, tmp_path: Path
) -> None:
    models = [7]
    async with gallery(browser, queue, models, life=600) as page:
        older, newer = (page.locator(f"thumbq-thumbnail[model-id='{model_id}']") for model_id in (7, 8))
        await expect(older).to_have_attribute("status", "Pending")
        models.append(8)
        await render(queue, tmp_path, 8)
        await page.evaluate(
            """url => document.body.insertAdjacentHTML("beforeend",
                `<thumbq-thumbnail model-id="8" url="${url}"></thumbq-thumbnail>`)""",
            f"{queue.http._base_url}/",
        )
        await expect(newer).to_have_attribute("status", "Ready")
        await expect(page.get_by_role("img", name="Thumbnail of model 8")).to_have_js_property("naturalWidth", 256)
        await announce(queue, 7, "the older")
        await announce(queue, 8, "the newer")
        await expect(older).to_have_attribute("status", "Failed")
        await expect(newer).to_have_attribute("status", "Failed")


async def test_an_element_that_comes_when_the_first_ticket_has_ended_loads_its_picture_with_the_present_one(
    browser: Browser, queue: Guarded, tmp_path: Path
) -> None:
    await render(queue, tmp_path, 7)
    async with gallery(browser, queue, [7], life=10) as page:
        pictures = page.get_by_role("img", name="Thumbnail of model 7")
        await expect(pictures).to_have_js_property("naturalWidth", 256)
        first = str(await pictures.get_attribute("src"))

        async def is_refused() -> bool:
            async with queue.http.get(first) as answer:
                return answer.status == 401

        await eventually(is_refused)
        devices = await page.context.new_cdp_session(page)
        await devices.send("Network.setCacheDisabled", {"cacheDisabled": True})
        await page.evaluate(
            "() => document.body.append(document.querySelector('thumbq-thumbnail').cloneNode())",
        )
        await expect(pictures).to_have_count(2)
        await expect(pictures.nth(1)).to_have_js_property("naturalWidth", 256)
        assert await pictures.nth(1).get_attribute("src") != first
