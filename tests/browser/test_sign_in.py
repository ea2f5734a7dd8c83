"""Signing in to the console of a queue that has API keys, in a real browser."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from playwright.async_api import Browser, BrowserContext, expect

from tests.browser.console import Console
from tests.gateway.access.test_keys import Guarded, guarded
from tests.support.service.keys import revoke


@dataclass
class Desk:
    """An operator before the console, not yet signed in."""

    console: Console
    context: BrowserContext
    queue: Guarded

    async def sign_in(self, key: str) -> None:
        await self.console.page.get_by_label("API key").fill(key)
        await self.console.button("Sign in").click()

    async def is_asked(self) -> None:
        await expect(self.console.page.get_by_role("dialog", name="Sign in")).to_be_visible()


@pytest.fixture
async def desk(browser: Browser, database_url: str) -> AsyncIterator[Desk]:
    async with guarded(database_url) as queue, await browser.new_context() as context:
        console = Console(await context.new_page(), str(queue.http._base_url) + "/")
        await console.page.goto(f"{console.url}console")
        yield Desk(console, context, queue)
        # the browser reports each 401 as an error, and nothing else went wrong
        console.forgive_outage()
        assert console.complaints == []


async def test_a_key_is_asked_for_and_kept_from_scripts(desk: Desk) -> None:
    console = desk.console
    await desk.is_asked()
    assert await console.violations() == []
    await desk.sign_in("tq_00000000_" + "x" * 43)
    await expect(console.page.get_by_role("alert").filter(has_text="not valid")).to_be_visible()
    await desk.sign_in(desk.queue.keys["admin"])
    await console.expect_connection("Live")
    await expect(console.figure("pending")).to_have_text("0")
    (cookie,) = await desk.context.cookies()
    assert cookie["value"] == desk.queue.keys["admin"]
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    assert await console.page.evaluate("() => document.cookie + JSON.stringify(localStorage)") == (
        '{"thumbq-signed-in":"yes"}'
    )
    await console.open()  # a later visit needs no key
    await console.button("Pause the queue").click()
    await console.answer("Pause", "a test")
    await expect(console.page.locator("#paused-text")).to_contain_text("paused by admin of a test")


async def test_the_sign_in_stays_until_somebody_has_signed_in(desk: Desk) -> None:
    await desk.is_asked()
    for _ in range(3):  # the second one closes a dialog for good, as Chromium has it
        await desk.console.page.keyboard.press("Escape")
    await desk.is_asked()
    await desk.sign_in(desk.queue.keys["viewer"])
    await desk.console.expect_connection("Live")


async def test_the_typescript_client_shows_a_key(desk: Desk) -> None:
    await desk.is_asked()
    jobs = """async (apiKey) => {
        const { Thumbq } = await import("/static/thumbq/index.js");
        const jobs = (client) => client.jobs().then(({ jobs }) => jobs.length, (error) => error.httpStatus);
        return [await jobs(new Thumbq()), await jobs(new Thumbq({ apiKey }))];
    }"""
    assert await desk.console.page.evaluate(jobs, desk.queue.keys["viewer"]) == [401, 0]


async def test_the_typescript_client_shows_a_ticket_where_a_picture_takes_no_key(desk: Desk) -> None:
    await desk.is_asked()
    statuses = """async (apiKey) => {
        const { Credentials } = await import("/static/thumbq/network/credentials.js");
        const picture = new URL("/models/7/thumbnail/file", location.href).href;
        const address = await new Credentials(new URL("/", location.href), { apiKey }).inAddress(picture);
        return [(await fetch(picture)).status, (await fetch(address)).status];
    }"""
    assert await desk.console.page.evaluate(statuses, desk.queue.keys["viewer"]) == [401, 404]


async def test_elements_that_were_refused_are_shown_when_another_comes_after_the_sign_in(desk: Desk) -> None:
    await desk.is_asked()
    page, console = desk.console.page, desk.console
    add = """async (modelId) => {
        await import("/static/thumbq/element.js");
        const element = document.createElement("thumbq-thumbnail");
        element.setAttribute("model-id", modelId);
        document.body.append(element);
    }"""
    refusal = "thumbq: the gateway refuses the elements of this page"
    async with page.expect_console_message(lambda message: refusal in message.text):
        await page.evaluate(add, 7)
    await desk.sign_in(desk.queue.keys["viewer"])
    await console.expect_connection("Live")
    await page.evaluate(add, 8)
    await expect(page.locator('thumbq-thumbnail[status="Pending"]')).to_have_count(2)
    console.complaints = [text for text in console.complaints if refusal not in text]


async def test_the_live_page_leads_to_the_sign_in(desk: Desk) -> None:
    page = desk.console.page
    await page.goto(desk.console.url)
    await page.get_by_role("status").get_by_role("link", name="Sign in").click()
    await desk.is_asked()
    await desk.sign_in(desk.queue.keys["viewer"])
    await desk.console.expect_connection("Live")
    await page.goto(desk.console.url)
    await desk.console.expect_connection("Live")


async def test_a_viewer_is_told_what_it_may_not_do(desk: Desk) -> None:
    await desk.sign_in(desk.queue.keys["viewer"])
    await desk.console.expect_connection("Live")
    await desk.console.button("Pause the queue").click()
    await desk.console.answer("Pause", "a test")
    await desk.console.page.keyboard.press("End")
    await expect(desk.console.page.locator("#trouble")).to_contain_text("viewer may not do this")
    await expect(desk.console.page.locator("#trouble")).to_be_in_viewport()


async def test_after_signing_out_the_key_is_asked_for_again(desk: Desk) -> None:
    await desk.sign_in(desk.queue.keys["viewer"])
    await desk.console.expect_connection("Live")
    await desk.console.button("Sign out").click()
    await desk.is_asked()
    assert await desk.context.cookies() == []


async def test_the_console_of_a_revoked_key_asks_for_another(desk: Desk) -> None:
    await desk.sign_in(desk.queue.keys["viewer"])
    await desk.console.expect_connection("Live")
    await revoke(desk.queue.admins, desk.queue.keys["viewer"])
    await desk.is_asked()
