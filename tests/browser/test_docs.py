"""/docs in a browser: it says what a call takes, and tries it."""

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, Locator, expect

from tests.browser.visit import Visit
from tests.gateway.access.test_keys import guarded
from tests.support.service.service import Service


@pytest.fixture
async def docs(browser: Browser, service: Service) -> AsyncIterator[Visit]:
    async with await browser.new_context() as context:
        visit = Visit(await context.new_page(), service.url)
        await visit.page.goto(f"{service.url}docs")
        yield visit
        assert visit.complaints == []


def operation(visit: Visit, name: str) -> Locator:
    return visit.page.locator(f"details#{name}")


async def test_a_call_is_tried_from_the_page(docs: Visit):
    enqueue = operation(docs, "EnqueueJob")
    await enqueue.locator("summary").click()
    await enqueue.get_by_role("button", name="Send").click()
    await expect(enqueue.locator("output")).to_contain_text('"outcome": "Created"')
    shown = operation(docs, "GetThumbnail")
    await shown.locator("summary").click()
    await shown.locator("input[name=modelId]").fill("42")
    await shown.get_by_role("button", name="Send").click()
    await expect(shown.locator("output")).to_contain_text("GET /models/42/thumbnail\n200")


async def test_only_a_call_whose_answer_is_a_text_that_ends_is_sent(docs: Visit):
    for name in ("GetThumbnail", "ChangeModels", "Metrics"):
        await expect(operation(docs, name).locator("form button")).to_have_count(1)
    for name in ("ThumbnailFile", "Notifications", "PostedNotifications"):
        await expect(operation(docs, name).locator("form")).to_have_count(1)
        await expect(operation(docs, name).locator("form button")).to_have_count(0)


async def test_a_refused_call_shows_the_reason(docs: Visit):
    cancel = operation(docs, "CancelJob")
    await cancel.locator("summary").click()
    await cancel.locator("input[name=jobId]").fill("999")
    await cancel.get_by_role("button", name="Send").click()
    await expect(cancel.locator("output")).to_contain_text("404")
    docs.forgive_outage()


async def test_a_link_to_a_type_opens_it(docs: Visit):
    job = operation(docs, "GetJob")
    await job.locator("summary").click()
    await job.get_by_role("link", name="Job", exact=True).click()
    await expect(docs.page.locator("details#Job")).to_have_attribute("open", "")


@pytest.mark.parametrize("width", [360, 1280])
async def test_the_page_is_never_wider_than_the_window(docs: Visit, width: int):
    await docs.page.set_viewport_size({"width": width, "height": 800})
    await docs.page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    assert await docs.overflow() == 0


async def test_the_enter_key_sends_no_call_without_a_button(docs: Visit):
    picture = operation(docs, "ThumbnailFile")
    await picture.locator("summary").click()
    await picture.locator("input[name=modelId]").fill("42")
    await picture.locator("input[name=modelId]").press("Enter")
    health = operation(docs, "Healthz")
    await health.locator("summary").click()
    await health.get_by_role("button", name="Send").click()
    await expect(health.locator("output")).to_contain_text("200 OK\n\nHealthy")


async def test_a_call_is_tried_with_a_key(browser: Browser, database_url: str):
    async with guarded(database_url) as queue, await browser.new_context() as context:
        docs = Visit(await context.new_page(), str(queue.http._base_url) + "/")
        await docs.page.goto(f"{docs.url}docs")
        stats = operation(docs, "GetStats")
        await stats.locator("summary").click()
        await stats.get_by_role("button", name="Send").click()
        await expect(stats.locator("output")).to_contain_text("401")
        await docs.page.get_by_label("API key").fill(queue.keys["viewer"])
        await stats.get_by_role("button", name="Send").click()
        await expect(stats.locator("output")).to_contain_text('"pending": 0')
