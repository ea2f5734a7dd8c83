"""Pages of other sites, in a real browser, try all that it lets them send without asking, and all ways to read."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web
from playwright.async_api import Browser, BrowserContext, Frame, Page, Request, Response

from tests.browser.test_tickets import render
from tests.gateway.access.test_keys import Guarded, guarded
from tests.support.service.service import Service
from tests.support.waiting import eventually

# Every way in which a page may write to another site without a preflight, and one with.
WRITE = """
async ([address, body]) => {
    const plain = { method: 'POST', mode: 'no-cors', credentials: 'include' };
    const send = (options) => fetch(address, { ...plain, ...options }).catch(() => {});
    const fields = new FormData();
    fields.append('body', body);
    await send({ body, headers: { 'Content-Type': 'text/plain' } });
    await send({ body: new Blob([body]) });
    await send({ body: new URLSearchParams({ body }) });
    await send({ body: fields });
    navigator.sendBeacon(address, body);
    for (const enctype of ['text/plain', 'multipart/form-data', 'application/x-www-form-urlencoded']) {
        const form = document.createElement('form');
        Object.assign(form, { method: 'POST', action: address, enctype, target: 'sink' });
        const input = document.createElement('input');
        Object.assign(input, { name: body.slice(0, -1) + ', "x": "', value: '"}' });
        form.append(input);
        const sink = document.createElement('iframe');
        sink.name = 'sink';
        document.body.append(sink, form);
        const answered = new Promise((resolve) => sink.addEventListener('load', resolve, { once: true }));
        form.submit();
        await answered;
        sink.remove();
    }
    const asking = { method: 'POST', credentials: 'include', headers: { 'Content-Type': 'application/json' }, body };
    return fetch(address, asking).then(() => 'sent', () => 'stopped');
}
"""
PATIENCE = 120.0  # seconds
WRITES = 8  # the browser asks for none of these
READ = """
async (gateway) => {
    const jobs = gateway + 'api/thumbnail-jobs';
    const fetched = (options) =>
        fetch(jobs, { credentials: 'include', ...options }).then(() => 'read', () => 'stopped');
    const loaded = (tag, attributes) => new Promise((resolve) => {
        const element = Object.assign(document.createElement(tag), attributes);
        element.onload = () => resolve('read');
        element.onerror = () => resolve('stopped');
        document.body.append(element);
    });
    const opened = (source) => new Promise((resolve) => {
        source.onopen = () => resolve('read');
        source.onerror = () => resolve('stopped');
    });
    const picture = async () => {
        const image = new Image();
        image.src = gateway + 'models/7/thumbnail/file';
        try { await image.decode(); } catch { return 'stopped'; }
        const canvas = document.createElement('canvas').getContext('2d');
        canvas.drawImage(image, 0, 0);
        try { canvas.getImageData(0, 0, 1, 1); } catch { return 'shown'; }
        return 'read';
    };
    return {
        fetch: await fetched({}),
        opaque: await fetched({ mode: 'no-cors' }),
        script: await loaded('script', { src: jobs }),
        sheet: await loaded('link', { rel: 'stylesheet', href: jobs }),
        stream: await opened(new EventSource(gateway + 'api/notifications', { withCredentials: true })),
        pages: await opened(new WebSocket(gateway.replace('http', 'ws') + 'thumbnailHub')),
        workers: await opened(new WebSocket(gateway.replace('http', 'ws') + 'thumbnailJobHub')),
        picture: await picture(),
    };
}
"""
WAYS_TO_READ = ("fetch", "opaque", "script", "sheet", "stream", "pages", "workers")
JOB = '{"modelId": 42, "modelHash": "' + "ab" * 32 + '"}'


@asynccontextmanager
async def site(port: int = 0) -> AsyncIterator[int]:
    """A site of a stranger, under every name that leads to this machine. Yields its port."""

    async def page(_request: web.Request) -> web.Response:
        return web.Response(text="<!doctype html><title>Elsewhere</title>", content_type="text/html")

    app = web.Application()
    app.router.add_get("/", page)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@asynccontextmanager
async def visited(context: BrowserContext, name: str) -> AsyncIterator[Page]:
    """Open the site of a stranger under a name."""
    async with site() as port:
        page = await context.new_page()
        await page.goto(f"http://{name}:{port}/")
        yield page
        await page.close()


async def written(page: Page, frame: Frame, address: str, body: str) -> set[int]:
    """Write in all ways. Return the statuses of the answers that the browser tells of: that of a form is always one."""
    sent: list[Request] = []
    statuses: set[int] = set()

    def note_request(request: Request) -> None:
        if request.method == "POST" and request.url == address:
            sent.append(request)

    def note_answer(response: Response) -> None:
        if response.request in sent:
            statuses.add(response.status)

    async def all_sent() -> bool:
        return len(sent) >= WRITES and bool(statuses)

    page.on("request", note_request)
    page.on("response", note_answer)
    assert await frame.evaluate(WRITE, [address, body]) == "stopped"
    await eventually(all_sent, timeout=PATIENCE)
    page.remove_listener("request", note_request)
    page.remove_listener("response", note_answer)
    return statuses


async def frame_of(page: Page, attributes: dict[str, str]) -> Frame:
    """Add a frame to a page, and wait until something is in it."""
    added = await page.evaluate_handle(
        """(attributes) => new Promise((resolve) => {
            const frame = document.createElement('iframe');
            Object.assign(frame, attributes, { onload: () => resolve(frame) });
            document.body.append(frame);
        })""",
        attributes,
    )
    element = added.as_element()
    assert element
    frame = await element.content_frame()
    assert frame
    return frame


async def framed(page: Page, address: str) -> str:
    """Show a page of the gateway in a frame. Return the address of what is in the frame then."""
    frame = await frame_of(page, {"src": address})

    async def address_is_known() -> bool:
        return frame.url not in {"", "about:blank"}

    await eventually(address_is_known, timeout=PATIENCE)
    return frame.url


async def jobs(service: Service) -> list[Any]:
    async with service._http.get(f"{service.url}api/thumbnail-jobs") as answer:
        return [(job["id"], job["status"]) for job in (await answer.json())["jobs"]]


async def test_a_foreign_page_changes_and_reads_nothing(browser: Browser, service: Service) -> None:
    await service.enqueue(7)
    await service.complete(await service.dequeue())
    before = await jobs(service)
    address = f"{service.url}api/thumbnail-jobs"
    # The name makes it foreign, as another port would.
    async with await browser.new_context() as context, visited(context, "localhost") as page:
        outcomes = await page.evaluate(READ, service.url)
        assert [outcomes[way] for way in WAYS_TO_READ] == ["stopped"] * len(WAYS_TO_READ), outcomes
        assert outcomes["picture"] == "shown"  # where there are no keys, everybody may look
        for path in ("", "console", "docs"):
            assert (await framed(page, service.url + path)).startswith("chrome-error:"), path
        assert await written(page, page.main_frame, address, JOB) == {403}
        # Such a frame has no origin at all.
        frame = await frame_of(page, {"sandbox": "allow-scripts allow-forms", "srcdoc": "<!doctype html><body></body>"})
        assert await frame.evaluate("self.origin") == "null"
        assert await written(page, frame, address, JOB) == {403}
    assert await jobs(service) == before


REBOUND = """
async (job) => {
    const status = (path, options) => fetch(path, options).then((answer) => answer.status);
    const json = { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: job };
    const opened = (source) => new Promise((resolve) => {
        source.onopen = () => resolve('open');
        source.onerror = () => resolve('refused');
    });
    return [
        await status('/api/thumbnail-jobs'),
        await status('/api/thumbnail-jobs', json),
        await status('/thumbnailHub/negotiate?negotiateVersion=1', { method: 'POST' }),
        await opened(new EventSource('/api/notifications')),
        await opened(new WebSocket(`ws://${location.host}/thumbnailHub`)),
    ];
}
"""


async def test_a_name_that_comes_to_lead_here_leads_to_nothing(browser: Browser, service: Service) -> None:
    """To the browser such a page is of the gateway's own origin (DNS rebinding)."""
    address = f"http://evil.example:{service.port}/"
    async with await browser.new_context() as context:
        page = await context.new_page()
        await service.stop_gateway()
        async with site(service.port):
            await page.goto(address)
        await service.start_gateway()
        assert await page.evaluate(REBOUND, JOB) == [403, 403, 403, "refused", "refused"]
        assert await jobs(service) == []
        # Once the name is the gateway's, the same page may do all of it.
        await service.stop_gateway()
        await service.start_gateway(allowed_hosts="evil.example")
        assert await page.evaluate(REBOUND, JOB) == [200, 200, 200, "open", "open"]
        assert len(await jobs(service)) == 1


async def test_the_cookie_of_the_console_serves_no_other_site(
    browser: Browser, database_url: str, tmp_path: Path
) -> None:
    """With requests of a sister, which is of the same site, the browser sends the cookie: the origin stops them."""
    name = "queue.team.example"
    settings = {"allowed_hosts": name, "thumbnail_root": tmp_path}
    async with guarded(database_url, **settings) as queue, await browser.new_context() as context:
        await render(queue, tmp_path, 7)
        assert queue.http._base_url
        gateway = f"http://{name}:{queue.http._base_url.port}/"
        await sign_in(context, gateway, queue)
        for stranger, is_sister in (("evil.team.example", True), ("evil.example", False)):
            async with visited(context, stranger) as page:
                outcomes = await page.evaluate(READ, gateway)
                assert [outcomes[way] for way in WAYS_TO_READ] == ["stopped"] * len(WAYS_TO_READ), outcomes
                assert outcomes["picture"] == ("shown" if is_sister else "stopped")  # with the cookie, and without
                assert (await framed(page, f"{gateway}console")).startswith("chrome-error:")
                assert await written(page, page.main_frame, f"{gateway}api/admin/pause", "{}") == {403}
        async with queue.http.get("/api/admin/stats", headers={"X-Api-Key": queue.keys["viewer"]}) as answer:
            assert not (await answer.json()).get("paused")


async def sign_in(context: BrowserContext, gateway: str, queue: Guarded) -> None:
    """Sign in at the gateway's own page, as an admin."""
    page = await context.new_page()
    await page.goto(f"{gateway}console")
    status = await page.evaluate(
        """async (apiKey) => (await fetch('/api/session', {
            method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ apiKey }),
        })).status""",
        queue.keys["admin"],
    )
    assert status == 204
    assert await page.evaluate("fetch('/api/thumbnail-jobs').then((answer) => answer.status)") == 200
