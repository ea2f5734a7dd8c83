"""The console in the hands of an operator: what stays in its place, what a key does, whose clock counts."""

from datetime import UTC, datetime, timedelta

import pytest
from playwright.async_api import Browser, expect

from tests.browser.console import Console, failed_jobs
from tests.support.service.service import Service

TOO_OLD = "FBX 6.1 is too old"
OUT_OF_MEMORY = "out of memory"


async def fail(service: Service, model_id: int, reason: str) -> None:
    await service.enqueue(model_id)
    job = await service.dequeue()
    await service.post(f"api/thumbnail-jobs/{job['id']}/fail", {"errorMessage": reason, "retryable": False})


async def test_what_has_the_focus_or_is_selected_stays_while_the_queue_moves(
    console: Console, service: Service
) -> None:
    await failed_jobs(service, TOO_OLD, TOO_OLD)
    link = console.page.get_by_role("link", name=TOO_OLD)
    await link.focus()
    await link.evaluate("link => { window.link = link; getSelection().selectAllChildren(link); }")
    await fail(service, 7, OUT_OF_MEMORY)
    await expect(console.table("Table of failed jobs")).to_have_count(3)
    assert await console.page.evaluate("() => document.activeElement === link && `${getSelection()}`") == TOO_OLD
    await fail(service, 8, TOO_OLD)  # the link leads to this job now
    await expect(link).to_have_attribute("href", "#job/4")
    await expect(link).to_be_focused()


async def test_the_focus_moves_on_when_its_row_goes(console: Console, service: Service) -> None:
    await failed_jobs(service, TOO_OLD, OUT_OF_MEMORY)
    await console.button(f"Retry the jobs that failed with: {TOO_OLD}").focus()
    await console.page.keyboard.press("Enter")
    await console.answer("Retry")
    await expect(console.table("Table of failed jobs")).to_have_count(2)
    await expect(console.page.get_by_role("region", name="Failed jobs by reason")).to_be_focused()


async def test_the_enter_key_in_a_reason_pauses_the_queue_and_the_focus_goes_to_the_way_back(
    console: Console,
) -> None:
    await console.button("Pause the queue").click()
    await console.page.get_by_label("Why").fill("a new renderer comes")
    await console.page.keyboard.press("Enter")
    await expect(console.page.locator("#paused-text")).to_contain_text("a new renderer comes")
    await expect(console.button("Resume")).to_be_focused()
    await console.page.keyboard.press("Enter")
    await expect(console.button("Pause the queue")).to_be_focused()


async def test_a_question_counts_all_jobs_that_start_again(console: Console, service: Service) -> None:
    await failed_jobs(service, OUT_OF_MEMORY, f"{OUT_OF_MEMORY.title()} while it was read", TOO_OLD)
    await console.button(f"Retry the jobs that failed with: {OUT_OF_MEMORY}").click()
    await expect(console.page.get_by_role("dialog", name="Retry 2 jobs?")).to_be_visible()
    await console.answer("Retry")
    await expect(console.figure("pending")).to_have_text("2")


async def test_a_job_that_is_asked_for_while_the_server_is_away_is_shown_when_it_is_back(
    console: Console, service: Service
) -> None:
    await service.enqueue(9)
    await service.stop_server()
    await console.expect_connection("Server away")
    await console.page.goto(f"{console.url}console#job/1")
    await console.page.reload()
    await console.expect_connection("Server away")
    await expect(console.page.locator("#job-why")).to_have_text("It is being loaded.")
    await service.start_server()
    await expect(console.page.locator("#job-fields")).to_contain_text("Pending")
    await expect(console.page.locator("#trouble")).to_be_hidden()
    console.forgive_outage()


async def test_a_job_leads_back_to_where_it_was_chosen(console: Console, service: Service) -> None:
    await failed_jobs(service, TOO_OLD)
    link = console.page.get_by_role("link", name=TOO_OLD)
    await link.click()
    await expect(console.page.get_by_role("heading", name="Job 1")).to_be_focused()
    await console.page.get_by_role("link", name="Close").click()
    await expect(link).to_be_focused()


async def test_a_picture_is_loaded_once(console: Console, service: Service) -> None:
    await service.enqueue(9)
    await service.complete(await service.dequeue())
    await console.open("#job/1")
    await expect(console.page.get_by_role("img", name="Thumbnail of model 9")).to_be_visible()
    await console.page.evaluate(
        """() => {
            window.hidden = 0;
            const link = document.getElementById("job-link");
            new MutationObserver(() => (hidden += link.hidden)).observe(link, { attributes: true });
        }"""
    )
    await service.fail(await _claimed(service, 10), TOO_OLD)
    async with console.page.expect_response(lambda answer: "/thumbnail-jobs/1/why" in answer.url):
        pass
    async with console.page.expect_response(lambda answer: "/thumbnail-jobs/1/why" in answer.url):
        pass
    assert await console.page.evaluate("() => hidden") == 0


async def _claimed(service: Service, model_id: int) -> dict[str, object]:
    await service.enqueue(model_id)
    return await service.dequeue()


@pytest.mark.parametrize("wrong", [timedelta(hours=-1), timedelta(hours=1)])
async def test_the_clock_of_the_gateway_counts(browser: Browser, service: Service, wrong: timedelta) -> None:
    async with await browser.new_context() as context:
        console = Console(await context.new_page(), service.url)
        await console.page.clock.set_fixed_time(datetime.now(UTC) + wrong)
        await console.open()
        await service.enqueue(1)
        await service.complete(await service.dequeue("worker-7"))
        await expect(console.page.locator("#throughput .completed")).to_have_count(1)
        await expect(console.table("Table of workers").filter(has_text="worker-7")).to_contain_text(" s ago")


async def test_no_job_has_the_number_0(console: Console, service: Service) -> None:
    await service.enqueue(1)
    number = console.page.get_by_label("Model or job number")
    await number.fill("0")
    await number.press("Enter")
    await expect(console.page.get_by_role("alert")).to_have_text('"0" is no number of a model or a job.')
    await console.button("Dismiss").click()
    await expect(console.page.get_by_role("alert")).to_be_hidden()


async def test_workers_stand_in_the_order_of_their_names(console: Console, service: Service) -> None:
    await service.enqueue_many(range(1, 4))
    for name in ("worker-9", "worker-2", "worker-10"):
        await service.dequeue(name)
    rows = console.table("Table of workers")
    await expect(rows).to_have_count(4)
    assert [await rows.nth(row).get_by_role("cell").first.inner_text() for row in (1, 2, 3)] == [
        "worker-2",
        "worker-9",
        "worker-10",
    ]
