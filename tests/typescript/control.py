"""Controls of the service for a test in another process: POST /gateway/stop and others."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from tests.support.network.line import Line
from tests.support.service.service import Service


@asynccontextmanager
async def control(service: Service, line: Line, other_database: str) -> AsyncIterator[str]:
    """Serve the controls. Yields their address."""

    async def cut_line() -> None:
        line.go_dead()

    async def mend_line() -> None:
        line.mend()

    async def start_for_one() -> None:
        await service.start_gateway(subscriptions_of_address=1)

    async def another_queue() -> None:
        await service.stop_server()
        await service.start_server(other_database)

    actions: dict[str, Callable[[], Awaitable[None]]] = {
        "/gateway/stop": service.stop_gateway,
        "/gateway/start": service.start_gateway,
        "/gateway/start-for-one": start_for_one,
        "/server/stop": service.stop_server,
        "/server/start": service.start_server,
        "/server/another-queue": another_queue,
        "/line/dead": cut_line,
        "/line/mended": mend_line,
    }

    async def act(request: web.Request) -> web.Response:
        await actions[request.path]()
        return web.Response(status=204)

    async def announce(request: web.Request) -> web.Response:
        await service.announce_at_server(int(request.match_info["model_id"]))
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/announce/{model_id}", announce)
    for path in actions:
        app.router.add_post(path, act)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}/"
    finally:
        await runner.cleanup()
