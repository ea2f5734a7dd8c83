"""The operator's console in a real browser: what it shows in each situation, and what its buttons do."""

import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from importlib.metadata import version

import pytest
from playwright.async_api import Route, expect

from tests.browser.console import Console, failed_jobs
from tests.support.service.service import Service
from thumbq_server.storage.reads import operations

NOON = datetime(2026, 11, 26, 12, 0, 30, tzinfo=UTC)
TOO_OLD = "FBX 6.1 is too old; 7.1 and newer are supported"
PHONE = {"width": 360, "height": 740}


async def tell_time(console: Console, moment: datetime) -> None:
    """Let the answers of the gateway tell another time than they do."""

    async def told(route: Route) -> None:
        answer = await route.fetch()
        await route.fulfill(response=answer, headers={**answer.headers, "date": format_datetime(moment, usegmt=True)})

    await console.page.route("**/api/admin/*", told)


async def test_an_empty_queue(console: Console) -> None:
    await expect(console.figure("pending")).to_have_text("0")
    await expect(console.page.get_by_role("contentinfo")).to_have_text(f"thumbq {version('thumbq')}")
    await expect(console.page.get_by_text("No job has failed for good.")).to_be_visible()
    await expect(console.page.get_by_text("No worker has been heard of lately.")).to_be_visible()
    await console.page.get_by_role("button", name="Find").click()
    await expect(console.page.locator("#found")).to_have_text("No job was found.")


async def test_a_busy_queue_is_shown_as_it_changes(console: Console, service: Service) -> None:
    await service.enqueue_many(range(1, 6))
    await expect(console.figure("pending")).to_have_text("5")
    job = await service.dequeue("worker-7")
    await expect(console.figure("processing")).to_have_text("1")
    workers = console.table("Table of workers")
    await expect(workers.filter(has_text="worker-7")).to_contain_text("rendering")
    headings = ["Worker", "State", "Holds", "Per minute", "Failed", "Last heard", "Version", "Labels"]
    await expect(workers.get_by_role("columnheader")).to_have_text(headings)
    cells = workers.filter(has_text="worker-7").get_by_role("cell")
    await expect(cells).to_have_text(["worker-7", "rendering", "1", "0", "0", re.compile("ago"), "–", ""])
    await service.complete(job)
    await expect(console.figure("completed")).to_have_text("1")
    await expect(console.figure("took")).to_contain_text("s")
    depth = console.page.locator("#depth")
    await expect(depth).to_have_attribute("aria-label", re.compile("^4 jobs wait now; at most 5 since "))
    throughput = console.page.locator("#throughput")
    await expect(throughput).to_have_attribute("aria-label", re.compile("^1 completed, 0 failed in [5-9] minutes.$"))


async def test_minutes_in_which_nobody_looked_are_told_apart_from_those_without_work(
    console: Console, service: Service
) -> None:
    throughput, unknown = console.page.locator("#throughput"), console.page.locator("#throughput .unknown")
    await console.page.clock.set_fixed_time(NOON)
    await tell_time(console, NOON)
    await console.open()
    await expect(throughput).to_have_attribute("aria-label", "0 completed, 0 failed in 5 minutes.")
    await expect(unknown).to_have_count(10)
    await console.page.clock.set_fixed_time(NOON + timedelta(minutes=10))
    await tell_time(console, NOON + timedelta(minutes=10))
    await service.enqueue(1)
    # The minute of the first look was not over then, so that nobody knows it.
    await expect(throughput).to_have_attribute("aria-label", "0 completed, 0 failed in 9 minutes.")
    await expect(unknown).to_have_count(6)


async def test_failed_jobs_are_gathered_by_reason_and_start_again_together(console: Console, service: Service) -> None:
    await failed_jobs(service, TOO_OLD, "out of memory", TOO_OLD)
    rows = console.table("Table of failed jobs")
    await expect(rows.nth(1)).to_contain_text(TOO_OLD)
    await expect(rows.nth(1).get_by_role("cell").nth(1)).to_have_text("2")
    await expect(rows.nth(2)).to_contain_text("out of memory")
    await console.button(f"Retry the jobs that failed with: {TOO_OLD}").click()
    await console.answer("Leave it")
    await expect(rows).to_have_count(3)
    await console.button(f"Retry the jobs that failed with: {TOO_OLD}").click()
    await console.answer("Retry")
    await expect(rows).to_have_count(2)
    await expect(console.figure("pending")).to_have_text("2")


@pytest.mark.parametrize("reason", ["the model is broken:\nno\u00a0faces", "x" * 600])
async def test_jobs_with_a_long_error_or_one_of_several_lines_start_again(
    console: Console, service: Service, reason: str
) -> None:
    await failed_jobs(service, reason)
    await console.table("Table of failed jobs").get_by_role("button").click()
    await console.answer("Retry")
    await expect(console.figure("pending")).to_have_text("1")


async def test_failed_jobs_are_found_behind_many_that_were_cancelled(
    console: Console, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "LOOKED_AT", 2)
    monkeypatch.setattr(operations, "LOOK_SECONDS", 0)  # so that each page ends after two jobs
    await failed_jobs(service, TOO_OLD)
    await service.enqueue_many(range(2, 7))
    for job_id in range(2, 7):
        await service.post(f"api/thumbnail-jobs/{job_id}/cancel", {})
    await expect(console.figure("cancelled")).to_have_text("5")
    await expect(console.table("Table of failed jobs").nth(1)).to_contain_text(TOO_OLD)
    await expect(console.page.get_by_text("No job has failed for good.")).to_be_hidden()


async def test_a_paused_queue_says_who_and_why_and_is_resumed(console: Console, service: Service) -> None:
    await console.button("Pause the queue").click()
    await console.answer("Pause", why="a new renderer comes")
    await expect(console.page.locator("#paused-text")).to_contain_text("paused by console")
    await expect(console.page.locator("#paused-text")).to_contain_text("a new renderer comes")
    await service.enqueue(1)
    await console.open("#job/1")
    await expect(console.page.locator("#job-why")).to_contain_text("paused")
    await console.button("Resume").click()
    await expect(console.page.locator("#paused")).to_be_hidden()


async def test_a_job_is_found_by_its_model_and_by_its_own_number(console: Console, service: Service) -> None:
    await service.enqueue_many(range(50, 53))
    number = console.page.get_by_label("Model or job number")
    for text in ("51", "2"):
        await number.fill(text)
        await number.press("Enter")
        await expect(console.table("Jobs that were found").nth(1)).to_contain_text("51")
        await expect(console.page.locator("#found")).to_have_text("1 job")
    console.forgive_outage()  # the browser reports that there is no job 51
    await number.fill("teapot")
    await number.press("Enter")
    await expect(console.page.get_by_role("alert")).to_have_text('"teapot" is no number of a model or a job.')


async def test_a_job_is_listed_once_and_older_jobs_are_those_of_the_search(console: Console, service: Service) -> None:
    await service.enqueue(1)
    await service.enqueue_many(range(2, 61))
    number, found = console.page.get_by_label("Model or job number"), console.page.locator("#found")
    await number.fill("1")  # of the model, and of its job
    await number.press("Enter")
    await expect(found).to_have_text("1 job")
    await number.fill("")
    await number.press("Enter")
    await expect(found).to_have_text("50 jobs, and older ones")
    await number.fill("7")
    await console.button("Older jobs").click()
    await expect(found).to_have_text("60 jobs")
    await expect(console.table("Jobs that were found").nth(1).get_by_role("cell").first).to_have_text("60")


async def test_one_job_with_its_history_is_cancelled_and_started_again(console: Console, service: Service) -> None:
    await service.enqueue(9)
    await service.fail(await service.dequeue("worker-3"), "no faces <b>at all</b>")
    await console.open("#job/1")
    attempts = console.table("Attempts of the job")
    await expect(attempts.nth(1)).to_contain_text("worker-3")
    await expect(attempts.nth(1)).to_contain_text("no faces <b>at all</b>")
    await console.button("Cancel").click()
    await console.answer("Cancel the job")
    await expect(console.page.locator("#job-fields")).to_contain_text("Cancelled")
    await console.button("Retry").click()
    await expect(console.page.locator("#job-fields")).to_contain_text("Pending")
    await service.complete(await service.dequeue())
    await expect(console.page.get_by_role("img", name="Thumbnail of model 9")).to_be_visible()
    await console.page.get_by_role("link", name="Close").click()
    await expect(console.page.locator("#job")).to_be_hidden()


async def test_a_job_that_is_not_there(console: Console) -> None:
    await console.open("#job/77")
    await expect(console.page.get_by_role("alert")).to_contain_text("77")
    console.forgive_outage()  # the browser reports the 404


async def test_a_server_that_is_away_and_comes_back(console: Console, service: Service) -> None:
    await service.enqueue(1)
    await console.open("#job/1")
    await expect(console.page.locator("#job-fields")).to_contain_text("Pending")
    await service.stop_server()
    await console.expect_connection("Server away")
    async with console.page.expect_response(lambda answer: "/thumbnail-jobs/1/why" in answer.url and not answer.ok):
        pass
    await service.start_server()
    await console.expect_connection("Live")
    await service.post("api/thumbnail-jobs/1/cancel", {})
    await expect(console.page.locator("#job-fields")).to_contain_text("Cancelled")  # the job was not closed
    await service.enqueue(2)
    await expect(console.figure("pending")).to_have_text("1")
    console.forgive_outage()


async def test_it_is_used_with_the_keyboard_alone(console: Console, service: Service) -> None:
    await failed_jobs(service, TOO_OLD)
    await expect(console.table("Table of failed jobs")).to_have_count(2)
    await console.page.get_by_role("link", name=TOO_OLD).focus()
    await console.page.keyboard.press("Enter")
    await expect(console.page.get_by_role("heading", name="Job 1")).to_be_focused()
    await console.page.keyboard.press("Tab")
    await expect(console.button("Retry").first).to_be_focused()
    await console.page.keyboard.press("Enter")
    await expect(console.page.locator("#job-fields")).to_contain_text("Pending")
    await console.button("Pause the queue").focus()
    await console.page.keyboard.press("Enter")
    await expect(console.page.get_by_label("Why")).to_be_focused()
    await console.page.keyboard.press("Escape")
    await expect(console.page.get_by_role("dialog")).to_be_hidden()
    await expect(console.page.locator("#paused")).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_nothing_is_in_the_way_of_a_screen_reader(console: Console, service: Service, scheme: str) -> None:
    await console.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    assert await console.violations() == []
    await failed_jobs(service, TOO_OLD, "x" * 900)
    await service.enqueue(1)
    await service.dequeue()
    await console.open("#job/1")
    await expect(console.table("Table of failed jobs")).to_have_count(3)
    await console.page.get_by_role("button", name="Find").click()
    await expect(console.table("Jobs that were found")).to_have_count(4)
    assert await console.violations() == []
    await console.button("Pause the queue").click()
    assert await console.violations() == []
    await console.answer("Pause", why="")
    await expect(console.page.locator("#paused")).to_be_visible()
    assert await console.violations() == []


async def test_the_plots_are_drawn_for_the_window_when_it_changes(console: Console) -> None:
    for width in (900, 400):
        await console.page.set_viewport_size({"width": width, "height": 700})
        for name in ("depth", "throughput"):
            plot = console.page.locator(f"#{name}")
            await expect(plot).to_have_js_property(
                "viewBox.baseVal.width", await plot.evaluate("one => one.clientWidth")
            )


async def test_nothing_scrolls_sideways_on_a_phone(console: Console, service: Service) -> None:
    await console.page.set_viewport_size({"width": PHONE["width"], "height": PHONE["height"]})
    await failed_jobs(service, "/var/lib/models/" + "x" * 300)
    await console.open("#job/1")
    await expect(console.table("Table of failed jobs")).to_have_count(2)
    await console.page.get_by_role("button", name="Find").click()
    await expect(console.table("Jobs that were found")).to_have_count(2)
    assert await console.overflow() == 0
