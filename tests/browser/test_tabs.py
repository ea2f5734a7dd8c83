"""Many tabs of one origin: they share one connection, and a hidden one gives it back."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from playwright.async_api import Browser, BrowserContext

from tests.browser.visit import Visit
from tests.support.service.service import Service
from tests.support.waiting import eventually

TABS = 8  # more than a browser opens connections to one origin under HTTP/1.1
HIDE = """() => {
    Object.defineProperty(document, "visibilityState", { value: "hidden", configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
}"""
SHOW = """() => {
    delete document.visibilityState;
    document.dispatchEvent(new Event("visibilitychange"));
}"""
LISTEN = """async ([models, position]) => {
    const { subscribe } = await import("/static/thumbq/index.js");
    window.seen = [];
    window.states = [];
    window.resets = 0;
    window.subscription = subscribe({
        modelIds: models,
        after: position,
        longestPause: 1_000,
        onThumbnail: ({ modelId }) => seen.push(modelId),
        onReset: () => (resets += 1),
        onConnection: (state) => states.push(state),
    });
}"""


@pytest.fixture
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    async with await browser.new_context(bypass_csp=True) as context:
        yield context


async def connections(service: Service) -> int:
    """Return how many streams the gateway has."""
    async with aiohttp.request("GET", service.url + "metrics") as answer:
        lines = (await answer.text()).splitlines()
    return next(int(float(line.split()[1])) for line in lines if line.startswith("thumbq_gateway_subscribers "))


async def wait_for_connections(service: Service, count: int) -> None:
    async def is_reached() -> bool:
        return await connections(service) == count

    await eventually(is_reached)


async def open_page(context: BrowserContext, service: Service) -> Visit:
    visit = Visit(await context.new_page(), service.url)
    await visit.open()
    return visit


async def open_tab(context: BrowserContext, service: Service, *models: int, after: str = "latest") -> Visit:
    """Open a page of the same origin that does nothing but listen."""
    visit = Visit(await context.new_page(), service.url)
    await visit.page.goto(service.url + "healthz")
    await visit.page.evaluate(LISTEN, [list(models), after])
    await live(visit)
    return visit


async def live(visit: Visit) -> None:
    await visit.page.wait_for_function("states.at(-1) === 'live'")


async def saw(visit: Visit, *models: int) -> None:
    await visit.page.wait_for_function("count => seen.length >= count", arg=len(models))
    assert await visit.page.evaluate("seen") == list(models)


async def test_every_live_page_loads_however_many_there_are_and_all_share_one_connection(
    context: BrowserContext, service: Service
):
    await service.enqueue(1)
    visits = [await open_page(context, service) for _ in range(TABS)]
    await wait_for_connections(service, 1)
    await service.enqueue(2)
    for visit in visits:
        for model_id in (1, 2):
            await visit.card(model_id).wait_for()
        assert await visit.shown() == ["Model 2", "Model 1"]
        assert visit.complaints == []


async def test_tabs_that_want_different_models_share_one_connection(context: BrowserContext, service: Service):
    visits = [await open_tab(context, service, number) for number in range(1, TABS + 1)]
    await wait_for_connections(service, 1)
    for number in range(1, TABS + 1):
        await service.announce(number, status="Ready")
    for number, visit in enumerate(visits, 1):
        await saw(visit, number)


async def test_a_tab_that_starts_in_the_past_gets_it_and_the_others_see_nothing_twice(
    context: BrowserContext, service: Service
):
    early = await open_tab(context, service)
    for model_id in (1, 2, 3):
        await service.announce(model_id, status="Ready")
    await saw(early, 1, 2, 3)
    late = await open_tab(context, service, 2, after="earliest")
    await service.announce(2, status="Ready")
    await saw(late, 2, 2)
    await saw(early, 1, 2, 3, 2)
    await wait_for_connections(service, 1)


async def test_the_lead_passes_on_when_its_tab_is_closed(context: BrowserContext, service: Service):
    first = await open_tab(context, service, 1)
    others = [await open_tab(context, service, 1, 2) for _ in range(3)]
    await service.announce(1, status="Ready")
    for visit in (first, *others):
        await saw(visit, 1)
    await first.page.close()
    await service.announce(2, status="Ready")
    for visit in others:
        await saw(visit, 1, 2)
        assert await visit.page.evaluate("resets") == 0
    await wait_for_connections(service, 1)


async def test_a_hidden_tab_gives_its_connection_back_and_misses_nothing(context: BrowserContext, service: Service):
    visit = await open_tab(context, service)
    await visit.page.evaluate(HIDE)
    await wait_for_connections(service, 0)
    await service.announce(1, status="Ready")
    await visit.page.evaluate(SHOW)
    await saw(visit, 1)
    await wait_for_connections(service, 1)


async def test_a_hidden_tab_hears_through_a_visible_one(context: BrowserContext, service: Service):
    hidden = await open_tab(context, service, 1)
    visible = await open_tab(context, service, 2)
    await hidden.page.evaluate(HIDE)
    for model_id in (1, 2):
        await service.announce(model_id, status="Ready")
    await saw(hidden, 1)
    await saw(visible, 2)
    await wait_for_connections(service, 1)


async def test_the_last_tab_that_closes_its_subscription_ends_the_connection(context: BrowserContext, service: Service):
    visits = [await open_tab(context, service, number) for number in (1, 2)]
    for visit in visits:
        await visit.page.evaluate("subscription.close()")
        await visit.page.evaluate("subscription.closed")
    await wait_for_connections(service, 0)
    again = await open_tab(context, service, 3)
    await service.announce(3, status="Ready")
    await saw(again, 3)


async def test_all_tabs_recover_from_a_restart_of_the_gateway(context: BrowserContext, service: Service):
    visits = [await open_tab(context, service, number) for number in range(1, 4)]
    await service.stop_gateway()
    for visit in visits:
        await visit.page.wait_for_function("states.at(-1) === 'reconnecting'")
    for number in range(1, 4):
        await service.announce_at_server(number)
    await service.start_gateway()
    for number, visit in enumerate(visits, 1):
        await live(visit)
        await saw(visit, number)
    await wait_for_connections(service, 1)


async def test_another_log_resets_each_tab_once(context: BrowserContext, service: Service, empty_database_url: str):
    visits = [await open_tab(context, service, number) for number in range(1, 4)]
    await service.stop_server()
    await service.start_server(empty_database_url)
    await asyncio.gather(*(visit.page.wait_for_function("resets === 1") for visit in visits))
    late = await open_tab(context, service, 9)
    for model_id in (1, 2, 3, 9):
        await service.announce(model_id, status="Ready")
    for number, visit in zip((1, 2, 3, 9), (*visits, late), strict=True):
        await saw(visit, number)
    assert [await visit.page.evaluate("resets") for visit in (*visits, late)] == [1, 1, 1, 0]


async def test_a_tab_that_cannot_use_web_locks_still_gives_its_connection_back(
    context: BrowserContext, service: Service
):
    await context.add_init_script("Object.defineProperty(navigator, 'locks', { value: undefined })")
    visits = [await open_tab(context, service) for _ in range(2)]
    await wait_for_connections(service, 2)
    await visits[0].page.evaluate(HIDE)
    await wait_for_connections(service, 1)
    await service.announce(1, status="Ready")
    await saw(visits[1], 1)
    await visits[0].page.evaluate(SHOW)
    await saw(visits[0], 1)
