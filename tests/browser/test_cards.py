"""The cards of the page through the life of a job, without a reload."""

import re

from playwright.async_api import expect

from tests.browser.visit import Visit
from tests.support.service.service import Service

PICTURE_IS_LOADED = "picture => picture.complete && picture.naturalWidth === 256"
UNTIL_SCROLLED = "note => ({ promise: new Promise(done => note.addEventListener('scroll', done)) })"


async def test_an_enqueued_job_appears_as_a_waiting_card(visit: Visit, service: Service):
    await service.enqueue(42)
    await expect(visit.card(42)).to_contain_text("Waiting")
    await expect(visit.counter("Waiting")).to_have_text("1")


async def test_a_claimed_job_is_shown_as_rendering_by_its_worker(visit: Visit, service: Service):
    await service.enqueue(42)
    await service.dequeue("worker-7")
    await expect(visit.card(42)).to_contain_text("Rendering")
    await expect(visit.card(42)).to_contain_text("worker-7")
    await expect(visit.counter("Rendering")).to_have_text("1")
    await expect(visit.counter("Waiting")).to_have_text("0")


async def test_a_completed_job_shows_its_picture_and_how_long_it_took(visit: Visit, service: Service):
    await service.enqueue(42)
    await service.complete(await service.dequeue())
    await expect(visit.card(42)).to_contain_text(re.compile(r"Ready\s*\d+\.\d s"))
    await expect(visit.picture(42)).to_be_visible()
    assert await visit.picture(42).evaluate(PICTURE_IS_LOADED)
    await expect(visit.counter("Ready")).to_have_text("1")


async def test_the_picture_opens_with_the_keyboard(visit: Visit, service: Service):
    await service.enqueue(42)
    await service.complete(await service.dequeue())
    await expect(visit.picture(42)).to_be_visible()
    await visit.page.keyboard.press("Tab")
    link = visit.card(42).get_by_role("link")
    await expect(link).to_be_focused()
    async with visit.page.expect_popup() as popup:
        await visit.page.keyboard.press("Enter")
    opened = await popup.value
    assert "/models/42/thumbnail/file" in opened.url


async def test_a_failed_job_shows_its_reason_in_full_and_when_it_is_tried_again(visit: Visit, service: Service):
    await service.enqueue(42)
    await service.fail(await service.dequeue(), "The mesh has no faces.")
    await expect(visit.card(42)).to_contain_text("Failed")
    await expect(visit.card(42).get_by_text("The mesh has no faces.")).to_be_visible()
    await expect(visit.card(42).get_by_text("Will try again at")).to_be_visible()


async def test_a_second_attempt_turns_a_failed_card_into_a_picture(visit: Visit, service: Service):
    await service.enqueue(42)
    await service.fail(await service.dequeue(), "The renderer was busy.")
    await expect(visit.card(42)).to_contain_text("Failed")
    job = await service.dequeue()
    await expect(visit.card(42)).to_contain_text("Rendering")
    await expect(visit.card(42)).to_contain_text("attempt 2")
    await expect(visit.card(42)).not_to_contain_text("The renderer was busy.")
    await service.complete(job)
    await expect(visit.picture(42)).to_be_visible()
    await expect(visit.card(42)).to_contain_text("attempt 2")


async def test_the_text_of_an_error_never_becomes_markup(visit: Visit, service: Service):
    hostile = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>&amp;"
    await service.enqueue(42)
    await service.fail(await service.dequeue("<b>worker</b>"), hostile)
    await expect(visit.card(42).get_by_text(hostile, exact=True)).to_be_visible()
    await expect(visit.page).to_have_title("thumbq")


async def test_a_long_reason_is_read_by_scrolling_with_the_keyboard(visit: Visit, service: Service):
    await service.enqueue(42)
    await service.fail(await service.dequeue(), "no room left " * 60 + "the end")
    note = visit.card(42).locator(".note")
    await expect(note).to_contain_text("the end")
    await expect(note).to_have_attribute("tabindex", "0")
    await visit.page.keyboard.press("Tab")
    await expect(note).to_be_focused()
    scrolled = await note.evaluate_handle(UNTIL_SCROLLED)
    await visit.page.keyboard.press("End")
    await scrolled.evaluate("({ promise }) => promise")


async def test_a_newer_picture_replaces_the_one_before(visit: Visit, service: Service):
    await service.enqueue(42)
    await service.complete(await service.dequeue(), "blue")
    await expect(visit.picture(42)).to_be_visible()
    before = await visit.picture(42).get_attribute("src")
    await service.enqueue(42, force=True)
    await expect(visit.card(42)).to_contain_text("Waiting")
    await expect(visit.picture(42)).to_be_visible()
    await service.complete(await service.dequeue(), "red")
    await expect(visit.card(42)).to_contain_text("Ready")
    await expect(visit.picture(42)).not_to_have_attribute("src", before or "")


async def test_a_failed_new_picture_leaves_the_last_good_one(visit: Visit, service: Service):
    await service.enqueue(42)
    await service.complete(await service.dequeue())
    await expect(visit.picture(42)).to_be_visible()
    await service.enqueue(42, force=True)
    await service.fail(await service.dequeue(), "The file is gone.")
    await expect(visit.card(42).get_by_text("The file is gone.")).to_be_visible()
    await expect(visit.picture(42)).to_be_visible()


async def test_a_picture_that_cannot_be_loaded_is_said_in_words(visit: Visit, service: Service):
    await service.announce(42, status="Ready", thumbnailUrl="/models/42/thumbnail/file")
    await expect(visit.card(42)).to_contain_text("The picture could not be loaded.")
    await expect(visit.card(42)).to_contain_text("test")
    assert [text for text in visit.complaints if "404" not in text] == []
    visit.complaints.clear()


async def test_a_picture_on_another_host_is_not_asked_for(visit: Visit, service: Service):
    await service.announce(42, status="Ready", thumbnailUrl="https://example.com/42.png")
    await expect(visit.card(42)).to_contain_text("The picture could not be loaded.")


async def test_a_batch_is_shown_in_its_own_order_before_what_was_there(visit: Visit, service: Service):
    await service.enqueue(9)
    await service.enqueue_many(range(1, 5))
    await expect(visit.card(4)).to_be_visible()
    assert await visit.shown() == ["Model 1", "Model 2", "Model 3", "Model 4", "Model 9"]
    await visit.page.reload()
    await expect(visit.card(4)).to_be_visible()
    assert await visit.shown() == ["Model 1", "Model 2", "Model 3", "Model 4", "Model 9"]


async def test_new_models_come_first_and_no_card_moves_when_its_state_changes(visit: Visit, service: Service):
    for model_id in (1, 2, 3):
        await service.enqueue(model_id)
    await expect(visit.card(3)).to_be_visible()
    assert await visit.shown() == ["Model 3", "Model 2", "Model 1"]
    job = await service.dequeue()
    assert job["modelId"] == 1
    await service.complete(job)
    await expect(visit.picture(1)).to_be_visible()
    assert await visit.shown() == ["Model 3", "Model 2", "Model 1"]


async def test_models_whose_numbers_javascript_would_round_stand_beside_others(visit: Visit, service: Service):
    for model_id in (1, 9_007_199_254_740_993, 2):
        await service.enqueue(model_id)
        await expect(visit.card(model_id)).to_be_visible()
    assert await visit.shown() == ["Model 2", "Model 9007199254740993", "Model 1"]
