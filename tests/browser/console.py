"""The console, as an operator sees and uses it."""

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Locator, expect

from tests.browser.visit import Visit
from tests.support.service.service import Service


class Console(Visit):
    """The console, as an operator sees it."""

    async def open(self, place: str = "") -> None:
        await self.page.goto(f"{self.url}console{place}")
        await self.expect_connection("Live")

    async def expect_connection(self, words: str) -> None:
        await expect(self.page.locator(".connection")).to_have_text(words)

    def figure(self, name: str) -> Locator:
        return self.page.locator(f"[data-figure={name}]")

    def table(self, name: str) -> Locator:
        return self.page.get_by_role("region", name=name, exact=True).get_by_role("row")

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    async def answer(self, name: str, why: str | None = None) -> None:
        dialog = self.page.get_by_role("dialog")
        if why is not None:
            await dialog.get_by_label("Why").fill(why)
        await dialog.get_by_role("button", name=name, exact=True).click()
        await expect(dialog).to_be_hidden()

    async def violations(self) -> list[str]:
        """Return what stands in the way of people who use a screen reader or a keyboard."""
        results = await Axe().run(self.page)
        return [
            f"{found['id']}: {[node['html'] for node in found['nodes']]}" for found in results.response["violations"]
        ]


async def failed_jobs(service: Service, *reasons: str) -> None:
    for model_id, reason in enumerate(reasons, 101):
        await service.enqueue(model_id)
        job = await service.dequeue()
        body = {"errorMessage": reason, "retryable": False, "leaseToken": job["leaseToken"]}
        await service.post(f"api/thumbnail-jobs/{job['id']}/fail", body)
