"""The page, as its reader sees it in a browser."""

from playwright.async_api import ConsoleMessage, Error, Locator, Page, Request, expect


class Visit:
    """An open page, and the errors that its browser reported."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.complaints: list[str] = []
        page.on("console", self._on_console)
        page.on("pageerror", self._on_error)
        page.on("request", self._on_request)

    async def open(self) -> None:
        """Load the page and wait until it is connected."""
        await self.page.goto(self.url)
        await self.expect_connection("Live")

    async def expect_connection(self, words: str) -> None:
        await expect(self.page.get_by_role("status")).to_have_text(words)

    def card(self, model_id: int) -> Locator:
        heading = self.page.get_by_role("heading", name=f"Model {model_id}", exact=True)
        return self.page.get_by_role("listitem").filter(has=heading)

    def picture(self, model_id: int) -> Locator:
        return self.card(model_id).get_by_role("img", name=f"Thumbnail of model {model_id}")

    def counter(self, name: str) -> Locator:
        return self.page.locator(".counter", has_text=name).get_by_role("definition")

    async def shown(self) -> list[str]:
        """Return the headings of the cards, in the order of the page."""
        return await self.page.get_by_role("listitem").get_by_role("heading").all_inner_texts()

    async def overflow(self) -> int:
        """Return how many pixels the page is wider than the window."""
        width: int = await self.page.evaluate(
            "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        return width

    def forgive_outage(self) -> None:
        """Drop the errors that every browser reports when a server is away."""
        self.complaints = [text for text in self.complaints if not text.startswith("Failed to load resource")]

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)

    def _on_error(self, error: Error) -> None:
        self.complaints.append(str(error))

    def _on_request(self, request: Request) -> None:
        if not request.url.startswith(self.url):
            self.complaints.append(f"request to {request.url}")
