"""The page after a reload, an outage, and many events at once."""

import re

from playwright.async_api import Browser, expect

from tests.browser.visit import Visit
from tests.support.network.line import Line
from tests.support.service.service import Service

MANY = 350
SHOWN = 300
MISSED_HEARTBEATS = 40_000  # milliseconds


async def test_a_reload_shows_the_same_cards(visit: Visit, service: Service):
    for model_id in (1, 2, 3, 4):
        await service.enqueue(model_id)
    await service.complete(await service.dequeue())
    await service.fail(await service.dequeue(), "The file is cut off.")
    await service.dequeue("worker-3")
    await expect(visit.card(3)).to_contain_text("worker-3")
    await visit.page.reload()
    await expect(visit.card(1)).to_contain_text("Ready")
    await expect(visit.picture(1)).to_be_visible()
    await expect(visit.card(2)).to_contain_text("The file is cut off.")
    await expect(visit.card(3)).to_contain_text("Rendering")
    await expect(visit.card(4)).to_contain_text("Waiting")
    assert await visit.shown() == ["Model 4", "Model 3", "Model 2", "Model 1"]


async def test_the_page_recovers_from_a_gateway_restart_and_shows_what_happened_meanwhile(
    visit: Visit, service: Service
):
    await service.enqueue(1)
    job = await service.dequeue()
    await expect(visit.card(1)).to_contain_text("Rendering")
    await visit.page.context.set_offline(True)
    await service.stop_gateway()
    await visit.expect_connection("Reconnecting")
    await service.start_gateway()
    await service.complete(job)
    await service.enqueue(2)
    await visit.page.context.set_offline(False)
    await visit.expect_connection("Live")
    await expect(visit.picture(1)).to_be_visible()
    await expect(visit.card(2)).to_contain_text("Waiting")
    visit.forgive_outage()


async def test_the_page_keeps_up_through_a_gateway_restart_without_a_reload(visit: Visit, service: Service):
    await visit.page.evaluate("window.isSamePage = true")
    for model_id in (1, 2, 3):
        await service.stop_gateway()
        await visit.expect_connection("Reconnecting")
        await service.start_gateway()
        await service.enqueue(model_id)
        await visit.expect_connection("Live")
        await expect(visit.card(model_id)).to_contain_text("Waiting")
        await expect(visit.counter("Waiting")).to_have_text(str(model_id))
    assert await visit.page.evaluate("window.isSamePage")
    visit.forgive_outage()


async def test_the_page_says_that_the_server_behind_the_gateway_is_away_and_when_it_is_back(
    visit: Visit, service: Service
):
    await service.enqueue(1)
    await expect(visit.card(1)).to_contain_text("Waiting")
    await service.stop_server()
    await visit.expect_connection("Server away")
    await visit.page.reload()
    await visit.expect_connection("Server away")
    await service.start_server()
    await visit.expect_connection("Live")
    await service.enqueue(2)
    await expect(visit.card(2)).to_contain_text("Waiting")
    await expect(visit.card(1)).to_contain_text("Waiting")


async def test_the_page_notices_a_line_that_went_dead_and_takes_another(browser: Browser, service: Service):
    async with Line.to(service.port) as line, await browser.new_context() as context:
        visit = Visit(await context.new_page(), f"http://127.0.0.1:{line.port}/")
        await visit.page.clock.install()
        await visit.open()
        line.go_dead()
        await service.enqueue(1)
        await visit.page.clock.fast_forward(MISSED_HEARTBEATS)
        await visit.expect_connection("Reconnecting")
        line.mend()
        await visit.expect_connection("Live")
        await expect(visit.card(1)).to_contain_text("Waiting")


async def test_the_page_comes_back_after_being_refused(visit: Visit, service: Service):
    await service.enqueue(1)
    await expect(visit.card(1)).to_contain_text("Waiting")
    await service.stop_gateway()
    async with service.refusing() as asked:
        await asked.wait()
        await visit.expect_connection("Reconnecting")
    await service.start_gateway()
    await service.enqueue(2)
    async with visit.page.expect_request(re.compile(r"after=[^&]+-1&")):
        await visit.expect_connection("Live")
    await expect(visit.card(2)).to_contain_text("Waiting")
    visit.forgive_outage()


async def test_another_queue_at_the_same_address_replaces_all_cards(
    visit: Visit, service: Service, empty_database_url: str
):
    await service.enqueue(1)
    await expect(visit.card(1)).to_be_visible()
    await service.stop_server()
    await visit.expect_connection("Server away")
    await service.start_server(empty_database_url)
    await visit.expect_connection("Live")
    await service.enqueue(2)
    await expect(visit.card(2)).to_be_visible()
    await expect(visit.card(1)).not_to_be_attached()
    visit.forgive_outage()


async def test_a_flood_is_capped_and_says_how_many_models_are_not_shown(visit: Visit, service: Service):
    await service.enqueue_many(range(1, MANY + 1))
    await expect(visit.page.get_by_role("listitem")).to_have_count(SHOWN)
    more = f"The {SHOWN} most recent models are shown, 50 more are not."
    await expect(visit.page.get_by_text(more)).to_be_visible()
    await expect(visit.counter("Waiting")).to_have_text(str(MANY))
    assert await visit.card(MANY).is_visible()


async def test_a_reader_further_down_is_not_pushed_away(visit: Visit, service: Service):
    await service.enqueue_many(range(1, 101))
    await expect(visit.page.get_by_role("listitem")).to_have_count(100)
    await visit.card(50).scroll_into_view_if_needed()
    place = await visit.card(50).bounding_box()
    await service.enqueue(101)
    newer = visit.page.get_by_role("button", name="1 new model")
    await expect(newer).to_be_visible()
    assert await visit.card(50).bounding_box() == place
    await newer.click()
    await expect(visit.card(101)).to_be_in_viewport()
    await expect(newer).to_be_hidden()
