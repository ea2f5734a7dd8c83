"""A page of another site, in a real browser, tries everything that a browser lets it send without asking."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from playwright.async_api import Browser, Page

from tests.support.service import Service

# Every way in which a page may write to another site without a preflight.
ATTACK = """
async ([gateway, job]) => {
    const outcomes = {};
    const plain = { method: 'POST', mode: 'no-cors', body: job, headers: { 'Content-Type': 'text/plain' } };
    outcomes.fetch = await fetch(gateway + 'api/thumbnail-jobs', plain).then(() => 'sent', () => 'stopped');
    outcomes.beacon = navigator.sendBeacon(gateway + 'api/thumbnail-jobs', job);
    const untyped = { method: 'POST', mode: 'no-cors', body: new Blob([job]) };
    outcomes.blob = await fetch(gateway + 'api/thumbnail-jobs', untyped).then(() => 'sent', () => 'stopped');
    const form = document.createElement('form');
    Object.assign(form, { method: 'POST', enctype: 'text/plain', target: 'sink' });
    form.action = gateway + 'api/thumbnail-jobs';
    const input = document.createElement('input');
    input.name = job.slice(0, -1) + ', "x": "';
    input.value = '"}';
    form.append(input);
    const sink = document.createElement('iframe');
    sink.name = 'sink';
    document.body.append(sink, form);
    const answered = new Promise((resolve) => sink.addEventListener('load', resolve, { once: true }));
    form.submit();
    await answered;
    outcomes.socket = await new Promise((resolve) => {
        const socket = new WebSocket(gateway.replace('http', 'ws') + 'thumbnailHub');
        socket.onopen = () => resolve('open');
        socket.onerror = () => resolve('refused');
    });
    outcomes.read = await fetch(gateway + 'api/thumbnail-jobs').then(() => 'read', () => 'unreadable');
    outcomes.stream = await new Promise((resolve) => {
        const source = new EventSource(gateway + 'api/notifications');
        source.onopen = () => resolve('open');
        source.onerror = () => resolve('unreadable');
    });
    return outcomes;
}
"""
JOB = '{"modelId": 42, "modelHash": "' + "ab" * 32 + '"}'


@pytest.fixture
async def foreign(browser: Browser) -> AsyncIterator[Page]:
    """A page of another site. Its name makes it foreign, as another port would."""

    async def page(_request: web.Request) -> web.Response:
        return web.Response(text="<!doctype html><title>Elsewhere</title>", content_type="text/html")

    app = web.Application()
    app.router.add_get("/", page)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    async with await browser.new_context() as context:
        opened = await context.new_page()
        await opened.goto(f"http://localhost:{runner.addresses[0][1]}/")
        yield opened
    await runner.cleanup()


async def test_a_foreign_page_changes_and_reads_nothing(foreign: Page, service: Service) -> None:
    outcomes = await foreign.evaluate(ATTACK, [service.url, JOB])
    assert outcomes["socket"] == "refused"
    assert outcomes["read"] == outcomes["stream"] == "unreadable"
    listed = await foreign.context.request.get(f"{service.url}api/thumbnail-jobs")
    assert (await listed.json())["jobs"] == []
