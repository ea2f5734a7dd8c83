"""Many tabs of one origin: they share one connection, and a hidden one gives it back."""

import asyncio

import pytest
from playwright.async_api import BrowserContext

from tests.browser.tabs import (
    HIDE,
    JOIN_AS_BEFORE,
    LISTEN,
    NO_FAREWELL,
    PUT_ASIDE,
    SHOW,
    SHOWN_AGAIN,
    TWO_LOGS,
    WATCH_BESIDE_A_STUCK_READER,
    listen,
    live,
    models_of_streams,
    open_tab,
    saw,
    wait_for_connections,
)
from tests.browser.visit import Visit
from tests.support.service.service import Service
from tests.support.waiting import eventually

TABS = 8  # more than a browser opens connections to one origin under HTTP/1.1


async def open_page(context: BrowserContext, service: Service) -> Visit:
    visit = Visit(await context.new_page(), service.url)
    await visit.open()
    return visit


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


@pytest.mark.parametrize("last_words", ["", NO_FAREWELL], ids=["it is left", "it crashes"])
async def test_the_models_of_a_page_that_is_gone_are_wanted_no_more(
    context: BrowserContext, service: Service, last_words: str
):
    await context.add_init_script(last_words)
    streams = models_of_streams(context)
    await open_tab(context, service, 1)
    gallery = await open_tab(context, service, 2)
    for number in (3, 4):
        await listen(gallery, number)

    async def is_forgotten() -> bool:
        await listen(gallery, 5)
        return streams[-1] == "1,5"

    await eventually(is_forgotten)


async def test_a_page_that_is_put_aside_wants_nothing_and_misses_nothing(context: BrowserContext, service: Service):
    streams = models_of_streams(context)
    await open_tab(context, service, 1)
    aside = await open_tab(context, service, 2)
    await aside.page.evaluate(PUT_ASIDE)
    other = await open_tab(context, service, 3)
    assert streams[-1] == "1,3"
    for model_id in (2, 3):
        await service.announce(model_id, status="Ready")
    await saw(other, 3)
    await aside.page.evaluate(SHOWN_AGAIN)
    await saw(aside, 2)
    assert streams[-1] == "1,2,3"


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


async def test_a_reader_that_is_stuck_keeps_no_other_of_its_page_from_the_next_connection(
    context: BrowserContext, service: Service
):
    visit = Visit(await context.new_page(), service.url)
    await visit.page.goto(visit.url + "healthz")
    await visit.page.evaluate(WATCH_BESIDE_A_STUCK_READER)
    await live(visit)
    await service.stop_gateway()
    await visit.page.wait_for_function("states.at(-1) === 'reconnecting'")
    await service.start_gateway()
    await live(visit)
    await service.enqueue(1)
    await visit.page.wait_for_function("window.pending === 1")


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


async def test_tabs_that_come_before_the_gateway_has_reached_a_server_get_each_event_once(
    context: BrowserContext, service: Service
):
    await service.stop_server()
    await service.stop_gateway()
    await service.start_gateway()
    visits = [Visit(await context.new_page(), service.url) for _ in range(2)]
    for visit in visits:
        await visit.page.goto(visit.url + "healthz")
        await visit.page.evaluate(LISTEN, [[1, 2], "latest"])
        await visit.page.wait_for_function("states.at(-1) === 'reconnecting'")
    await service.start_server()
    for visit in visits:
        await live(visit)
    for model_id in (1, 2):
        await service.announce(model_id, status="Ready")
    for visit in visits:
        await saw(visit, 1, 2)
        assert await visit.page.evaluate("resets") == 0


async def test_of_tabs_with_cursors_of_two_logs_one_is_reset(context: BrowserContext, service: Service):
    page = await context.new_page()
    await page.goto(service.url + "healthz")
    cursor = await page.evaluate(
        "fetch('/api/notifications/cursor').then(async (answer) => (await answer.json()).cursor)"
    )
    await page.evaluate(TWO_LOGS, cursor)
    await service.announce(1, status="Ready")
    await page.wait_for_function("tabs[0].resets === 1")
    await service.announce(2, status="Ready")
    await page.wait_for_function("tabs.every(({ seen }) => seen.at(-1) === 2)")
    assert await page.evaluate("tabs.map(({ resets }) => resets)") == [1, 0]
    assert await page.evaluate("tabs[1].seen") == [1, 2]


REFUSING = "{ request: async () => { throw new DOMException('no storage', 'SecurityError'); } }"


@pytest.mark.parametrize("locks", ["undefined", REFUSING], ids=["missing", "refused"])
async def test_a_tab_that_cannot_use_web_locks_still_gives_its_connection_back(
    context: BrowserContext, service: Service, locks: str
):
    await context.add_init_script(f"Object.defineProperty(navigator, 'locks', {{ value: {locks} }})")
    visits = [await open_tab(context, service) for _ in range(2)]
    await wait_for_connections(service, 2)
    await visits[0].page.evaluate(HIDE)
    await wait_for_connections(service, 1)
    await service.announce(1, status="Ready")
    await saw(visits[1], 1)
    await visits[0].page.evaluate(SHOW)
    await saw(visits[0], 1)


async def test_pages_of_an_earlier_version_share_nothing_with_those_of_this(context: BrowserContext, service: Service):
    streams = models_of_streams(context)
    visit = await open_tab(context, service, 1)
    await visit.page.evaluate(JOIN_AS_BEFORE)
    await service.announce(1, status="Ready")
    await saw(visit, 1)
    assert streams == ["1"]
