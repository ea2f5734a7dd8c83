"""<thumbq-thumbnail> and the React hook in pages of another origin."""

import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from playwright.async_api import Browser, Page, expect

from tests.support.service.service import Service
from tests.typescript.compiler import PACKAGE, compiled

GALLERY = """
import { createElement, StrictMode, useState } from "react";
import { createRoot } from "react-dom/client";
import { useThumbnails } from "thumbq/react";

function Gallery() {
    const [modelIds, setModelIds] = useState([1]);
    const thumbnails = useThumbnails(modelIds, GATEWAY);
    const list = modelIds.map((id) => createElement("li", { key: id }, `${id}: ${thumbnails.get(id)?.status}`));
    const show = (label, ids) => createElement("button", { key: label, onClick: () => setModelIds(ids) }, label);
    const hidden = createElement("output", { key: "count" }, [...thumbnails.keys()].join());
    const buttons = [show("more", [1, 2]), show("fewer", [2]), show("impossible", [-5]), show("mixed", [1, -5])];
    return [...buttons, createElement("ul", { key: "list" }, list), hidden];
}

createRoot(document.querySelector("main")).render(createElement(StrictMode, null, createElement(Gallery)));
"""


@pytest.fixture
async def service(database_url: str, tmp_path: Path) -> AsyncIterator[Service]:
    """Run a service whose gateway allows pages of every origin."""
    async with Service.started(database_url, tmp_path, cors_origins="*") as service:
        yield service


async def rendered(service: Service, model_id: int) -> None:
    await service.enqueue(model_id)
    await service.complete(await service.dequeue())


async def test_an_element_shows_the_present_picture_and_its_content_until_then(browser: Browser, service: Service):
    html = f"""<script type="module" src="{service.url}static/thumbq/element.js"></script>
        <thumbq-thumbnail model-id="42" url="{service.url}" alt="a teapot">No picture yet</thumbq-thumbnail>"""
    async with opened(browser, html) as page:
        element = page.locator("thumbq-thumbnail")
        await expect(element).to_have_attribute("status", "Pending")
        await expect(element).to_have_text("No picture yet", use_inner_text=True)
        await rendered(service, 42)
        await expect(element).to_have_attribute("status", "Ready")
        await expect(page.get_by_role("img", name="a teapot")).to_have_js_property("naturalWidth", 256)
        await expect(element).to_have_text("", use_inner_text=True)


async def test_an_element_that_is_given_another_model_shows_nothing_of_the_one_before(
    browser: Browser, service: Service
):
    html = f"""<script type="module" src="{service.url}static/thumbq/element.js"></script>
        <thumbq-thumbnail model-id="7" url="{service.url}">No picture yet</thumbq-thumbnail>"""
    await rendered(service, 7)
    async with opened(browser, html) as page:
        element = page.locator("thumbq-thumbnail")
        await expect(page.get_by_role("img", name="Thumbnail of model 7")).to_have_js_property("naturalWidth", 256)
        shown_at_once = await element.evaluate(
            """element => {
                element.setAttribute("model-id", "8");
                const picture = element.shadowRoot.querySelector("img");
                return [element.getAttribute("status"), element.innerText, picture.hasAttribute("src")];
            }"""
        )
        assert shown_at_once == [None, "No picture yet", False]
        await expect(element).to_have_attribute("status", "Pending")
        await expect(element).to_have_text("No picture yet", use_inner_text=True)
        await rendered(service, 8)
        await expect(page.get_by_role("img", name="Thumbnail of model 8")).to_have_js_property("naturalWidth", 256)


async def test_a_page_may_have_two_copies_of_the_element(browser: Browser, service: Service):
    html = f"""<script type="module" src="{service.url}static/thumbq/element.js"></script>
        <script type="module" src="{service.url}static/thumbq/element.js?another"></script>
        <thumbq-thumbnail model-id="7" url="{service.url}"></thumbq-thumbnail>"""
    async with opened(browser, html) as page:
        await expect(page.locator("thumbq-thumbnail")).to_have_attribute("status", "Pending")


async def test_elements_come_and_go_and_share_one_stream(browser: Browser, service: Service):
    html = f'<script type="module" src="{service.url}static/thumbq/element.js"></script><main></main>'
    async with opened(browser, html) as page:
        loads: list[str] = []
        page.on("request", lambda request: loads.append(request.url))
        await page.evaluate(
            """url => document.querySelector("main").innerHTML = [1, 2, 3, 3].map((id) =>
                `<thumbq-thumbnail model-id="${id}" url="${url}"></thumbq-thumbnail>`).join("")""",
            service.url,
        )
        await expect(page.locator('thumbq-thumbnail[status="Pending"]')).to_have_count(4)
        assert len([url for url in loads if url.endswith("/models/thumbnails")]) == 1
        await page.evaluate("document.querySelector('thumbq-thumbnail').remove()")
        await page.evaluate("document.querySelector('thumbq-thumbnail').setAttribute('model-id', '4')")
        await rendered(service, 4)
        await rendered(service, 3)
        await expect(page.locator('thumbq-thumbnail[status="Ready"]')).to_have_count(3)


async def test_the_hook_draws_each_change_of_whatever_models_it_is_given(
    browser: Browser, service: Service, tmp_path: Path
):
    async with opened(browser, f"<main></main><script>{bundle(service.url, tmp_path)}</script>") as page:
        items = page.get_by_role("listitem")
        await expect(items).to_have_text(["1: Pending"])
        await rendered(service, 1)
        await expect(items).to_have_text(["1: Ready"])
        await page.get_by_role("button", name="more").click()
        await expect(items).to_have_text(["1: Ready", "2: Pending"])
        await rendered(service, 2)
        await expect(items).to_have_text(["1: Ready", "2: Ready"])
        await page.get_by_role("button", name="fewer").click()
        await expect(items).to_have_text(["2: Ready"])
        await expect(page.locator("output")).to_have_text("2")


async def test_the_hook_follows_other_models_after_the_gateway_has_refused_some(
    browser: Browser, service: Service, tmp_path: Path
):
    async with opened(browser, f"<main></main><script>{bundle(service.url, tmp_path)}</script>") as page:
        items = page.get_by_role("listitem")
        await expect(items).to_have_text(["1: Pending"])
        async with page.expect_console_message(lambda message: "refuses the models" in message.text):
            await page.get_by_role("button", name="impossible").click()
        await page.get_by_role("button", name="fewer").click()
        await expect(items).to_have_text(["2: Pending"])
        await rendered(service, 2)
        await expect(items).to_have_text(["2: Ready"])


async def test_the_hook_keeps_no_model_of_a_list_that_was_refused(browser: Browser, service: Service, tmp_path: Path):
    async with opened(browser, f"<main></main><script>{bundle(service.url, tmp_path)}</script>") as page:
        items = page.get_by_role("listitem")
        await expect(items).to_have_text(["1: Pending"])
        async with page.expect_console_message(lambda message: "refuses the models" in message.text):
            await page.get_by_role("button", name="mixed").click()
        await page.get_by_role("button", name="fewer").click()
        await expect(items).to_have_text(["2: Pending"])
        await expect(page.locator("output")).to_have_text("2")


def bundle(gateway: str, folder: Path) -> str:
    """Return the gallery with React and the client in one script, as a page's build makes it."""
    compiled()
    (folder / "node_modules").mkdir()
    (folder / "node_modules" / "thumbq").symlink_to(PACKAGE)
    source = folder / "gallery.js"
    source.write_text(GALLERY.replace("GATEWAY", f'"{gateway}"'))
    command: list[str | Path] = [PACKAGE / "node_modules/.bin/esbuild", source, "--bundle"]
    modules = os.environ | {"NODE_PATH": str(PACKAGE / "node_modules")}
    return subprocess.run(command, env=modules, capture_output=True, text=True, check=True).stdout


@asynccontextmanager
async def opened(browser: Browser, html: str) -> AsyncIterator[Page]:
    """Open a page on another port. It fails with an error of the page."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text=f'<!doctype html><meta charset="utf-8">{html}', content_type="text/html")

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    errors: list[str] = []
    try:
        async with await browser.new_context() as context:
            page = await context.new_page()
            page.on("pageerror", lambda error: errors.append(str(error)))
            await page.goto(f"http://127.0.0.1:{runner.addresses[0][1]}/")
            yield page
    finally:
        await runner.cleanup()
    assert errors == []
