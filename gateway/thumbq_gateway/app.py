"""The gateway, put together: the only wiring there is, and the order in which it ends."""

import asyncio
import gc
import json
import os
import signal
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import NoReturn

import grpc
import structlog
from aiohttp import web
from yarl import URL

from thumbq.v1 import admin_pb2, notification_pb2, queue_pb2
from thumbq_gateway.http import files
from thumbq_gateway.http.cors import allow_origins
from thumbq_gateway.http.errors import answer_errors
from thumbq_gateway.http.forwarding import Forwarder
from thumbq_gateway.http.health import Health
from thumbq_gateway.http.model_files import ModelFiles
from thumbq_gateway.http.pages import page_routes
from thumbq_gateway.http.uploads import Uploads
from thumbq_gateway.metrics import Metrics
from thumbq_gateway.notifications.fanout import Fanout
from thumbq_gateway.notifications.handler import Notifications
from thumbq_gateway.notifications.queue_relay import QueueWatch
from thumbq_gateway.notifications.upstream import Upstream
from thumbq_gateway.openapi.document import openapi_document
from thumbq_gateway.openapi.page import docs_routes
from thumbq_gateway.settings import Settings
from thumbq_gateway.signalr.wing import SignalR
from thumbq_gateway.transcoding.endpoint import LARGEST_BODY, Transcoder
from thumbq_gateway.transcoding.finish import Finish
from thumbq_gateway.transcoding.neighbours import Neighbours
from thumbq_gateway.transcoding.routes import routes_of

log = structlog.get_logger()

_SERVICES = [
    service
    for module in (queue_pb2, notification_pb2, admin_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
]
_CHANNEL_OPTIONS = [
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    ("grpc.enable_http_proxy", 0),
]
_BACKLOG = 4_096  # connections that may wait to be taken, when all pages come back at once
_TURNS_TO_CONNECT = 5  # of the loop, until what the kernel has handed over is a connection that can be ended in order
_GRACE = 2.0  # seconds for requests under way when the gateway stops


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Runs a gateway until `stop` is set. Raises OSError when it cannot listen."""
    async with running(settings, stop) as port:
        log.info("gateway.ready", host=settings.http_host, port=port, server=settings.server)
        if settings.ready_fd is not None:
            with os.fdopen(settings.ready_fd, "w") as pipe:
                pipe.write(json.dumps({"port": port}) + "\n")
        await stop.wait()
        log.info("gateway.stopping")
    log.info("gateway.stopped")


@asynccontextmanager
async def running(settings: Settings, broken: asyncio.Event) -> AsyncIterator[int]:
    """A gateway that listens on the port it gives; `broken` is set when it cannot go on."""
    async with grpc.aio.insecure_channel(settings.server, options=_CHANNEL_OPTIONS) as channel:
        metrics = Metrics()
        fanout = Fanout(metrics, heartbeat=settings.heartbeat, buffer_limit=settings.subscriber_buffer)
        upstream = Upstream(
            channel,
            fanout,
            metrics,
            ring_capacity=settings.ring_notifications,
            ring_bytes=settings.ring_bytes,
        )
        queue_watch = QueueWatch(channel, fanout, linger=settings.queue_watch_linger)
        table = routes_of(_SERVICES)
        transcoder = Transcoder(table, channel, metrics)

        app = web.Application(middlewares=[answer_errors], client_max_size=LARGEST_BODY)
        app.add_routes(transcoder.endpoints())
        app.add_routes(Health(channel, metrics).routes())
        app.add_routes(docs_routes(openapi_document(table)))
        notifications = Notifications(
            upstream,
            fanout,
            queue_watch,
            metrics,
            limit=settings.subscriber_limit,
            timeout=settings.subscriber_timeout,
        )
        app.router.add_get("/api/notifications", notifications.handle, allow_head=False)
        app.router.add_get(files.PATTERN, files.ThumbnailFiles(channel, settings.thumbnail_root).handle)
        app.add_routes(Finish(channel).routes())
        app.add_routes(Neighbours(channel).routes())
        app.add_routes(Uploads(settings.thumbnail_root).routes())
        forwarder = Forwarder(verify=settings.upstream_verify)
        hubs = _hubs(settings, channel, queue_watch, metrics, forwarder)
        upstream.listeners.append(hubs)
        app.add_routes(hubs.routes())
        app.add_routes(_optional_routes(settings, forwarder))
        allow_origins(app, settings.cors_origins)

        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=_GRACE)
        await runner.setup()
        site = web.TCPSite(
            runner, settings.http_host, settings.http_port, backlog=_BACKLOG, reuse_port=settings.reuse_port
        )
        for_ever = [upstream.run(), fanout.beat(upstream.head), *hubs.duties()]
        duties = [asyncio.create_task(_vital(duty, broken)) for duty in for_ever]
        try:
            await site.start()
            hubs.live_at(await _open_own_door(settings, runner))
            yield int(runner.addresses[0][1])
        finally:
            if site in runner.sites:
                await site.stop()
                for _ in range(_TURNS_TO_CONNECT):
                    await asyncio.sleep(0)
            fanout.end()
            hubs.drain()
            queue_watch.end()
            transcoder.end_long_polls()
            await runner.cleanup()
            for duty in duties:
                duty.cancel()
            await asyncio.gather(*duties, return_exceptions=True)
            await forwarder.close()


def _optional_routes(settings: Settings, forwarder: Forwarder) -> list[web.RouteDef]:
    """Return the routes that depend on settings: files of models, and an application behind, or the live page."""
    routes = ModelFiles(settings.model_root).routes() if settings.model_root else []
    if not settings.upstream:
        return [*routes, *page_routes()]
    base = URL(str(settings.upstream))

    async def pass_on(request: web.Request) -> web.StreamResponse:
        return await forwarder.forward(request, base)

    return [*routes, web.route("*", "/{path:.*}", pass_on)]


def _hubs(
    settings: Settings, channel: grpc.aio.Channel, queue_watch: QueueWatch, metrics: Metrics, forwarder: Forwarder
) -> SignalR:
    return SignalR(
        channel,
        queue_watch,
        metrics.hubs,
        forwarder,
        secret=settings.read_hub_secret(),
        heartbeat=settings.heartbeat,
        limit=settings.subscriber_limit,
        buffer_limit=settings.subscriber_buffer,
        origins=settings.cors_origins,
    )


async def _open_own_door(settings: Settings, runner: web.AppRunner) -> str:
    """Listen on a port of this process alone, for the other gateways. Return its host:port, or "" when it is alone.

    Gateways that share a port need it: a connection to the shared port may reach any of them.
    """
    if not settings.reuse_port and not settings.peer_host:
        return ""
    host = settings.peer_host or "127.0.0.1"
    await web.TCPSite(runner, host, 0).start()
    return f"{host}:{runner.addresses[-1][1]}"


async def _vital(duty: Coroutine[None, None, NoReturn], broken: asyncio.Event) -> None:
    """Runs what the gateway cannot do without; when it fails, the gateway ends, and its parent starts another."""
    try:
        await duty
    except Exception:
        log.exception("gateway.broken")
        broken.set()


async def run(settings: Settings) -> None:
    """`serve` until SIGTERM or SIGINT; a second signal ends the process at once.

    Raises SystemExit with 1 when the gateway ends by itself.
    """
    # as in the server: what is here now stays, and what a request leaves behind dies by reference count
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    stop = asyncio.Event()
    asked = asyncio.Event()

    def signalled() -> None:
        if asked.is_set():
            os._exit(1)
        asked.set()
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, signalled)
    await serve(settings, stop)
    if not asked.is_set():
        raise SystemExit(1)
