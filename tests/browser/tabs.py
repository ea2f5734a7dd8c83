"""Tabs that do nothing but listen, and what a test sees of them."""

from urllib.parse import parse_qs, urlsplit

import aiohttp
from playwright.async_api import BrowserContext, Request

from tests.browser.visit import Visit
from tests.support.service.service import Service
from tests.support.waiting import eventually

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
WATCH_BESIDE_A_STUCK_READER = """async () => {
    const { watchQueue } = await import("/static/thumbq/index.js");
    window.states = [];
    await new Promise((resolve) => watchQueue({ onQueue: () => (resolve(), new Promise(() => undefined)) }));
    watchQueue({
        longestPause: 1_000,
        silence: 600_000, // longer than a test lasts: after it, the page would take the lead anew
        onQueue: ({ pending }) => (window.pending = pending),
        onConnection: (state) => states.push(state),
    });
}"""
TWO_LOGS = """async (position) => {
    const { subscribe } = await import("/static/thumbq/index.js");
    window.tabs = ["another-100", position].map((after) => {
        const tab = { seen: [], resets: 0 };
        subscribe({ after, onThumbnail: ({ modelId }) => tab.seen.push(modelId), onReset: () => (tab.resets += 1) });
        return tab;
    });
}"""
# As a page did that held no lock while it listened.
JOIN_AS_BEFORE = """() => {
    const events = { after: "earliest", modelIds: [2], statuses: [], thumbnails: true, queue: false, progress: false };
    new BroadcastChannel(`thumbq ${location.origin}/`).postMessage(
        { type: "join", member: "an earlier page", request: events, silence: 40_000 });
}"""
NO_FAREWELL = "addEventListener('pagehide', (event) => event.stopImmediatePropagation())"
PUT_ASIDE = "dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }))"
SHOWN_AGAIN = "dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))"


async def connections(service: Service) -> int:
    """Return how many streams the gateway has."""
    async with aiohttp.request("GET", service.url + "metrics") as answer:
        lines = (await answer.text()).splitlines()
    return next(int(float(line.split()[1])) for line in lines if line.startswith("thumbq_gateway_subscribers "))


async def wait_for_connections(service: Service, count: int) -> None:
    async def is_reached() -> bool:
        return await connections(service) == count

    await eventually(is_reached)


async def open_tab(context: BrowserContext, service: Service, *models: int, after: str = "latest") -> Visit:
    """Open a page of the same origin that does nothing but listen."""
    visit = Visit(await context.new_page(), service.url)
    await listen(visit, *models, after=after)
    return visit


async def listen(visit: Visit, *models: int, after: str = "latest") -> None:
    """Leave the page, if there is one, for another of the same origin that listens."""
    await visit.page.goto(visit.url + "healthz")
    await visit.page.evaluate(LISTEN, [list(models), after])
    await live(visit)


def models_of_streams(context: BrowserContext) -> list[str]:
    """Return a list that gets the models of each stream that a tab opens."""
    models: list[str] = []

    def note(request: Request) -> None:
        url = urlsplit(request.url)
        if url.path == "/api/notifications":
            models.extend(parse_qs(url.query)["modelId"])

    context.on("request", note)
    return models


async def live(visit: Visit) -> None:
    await visit.page.wait_for_function("states.at(-1) === 'live'")


async def saw(visit: Visit, *models: int) -> None:
    await visit.page.wait_for_function("count => seen.length >= count", arg=len(models))
    assert await visit.page.evaluate("seen") == list(models)
