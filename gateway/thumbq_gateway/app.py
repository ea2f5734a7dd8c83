"""The gateway's life: register the routes of its parts, run them, and end them in order."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, nullcontext

import grpc
import structlog
from aiohttp import web
from yarl import URL

from thumbq.keyed_channel import KeyedChannel
from thumbq.tls import channel_to
from thumbq_gateway.access.door import Door, note_begin
from thumbq_gateway.access.session import Session
from thumbq_gateway.access.table import roles_of_routes
from thumbq_gateway.access.unkeyed import JobsInWork
from thumbq_gateway.http.bodies.unread import end_uploads
from thumbq_gateway.http.browsers.answer_headers import protect_answers
from thumbq_gateway.http.browsers.cors import allow_origins
from thumbq_gateway.http.browsers.foreign_pages import guard_against_pages
from thumbq_gateway.http.errors import answer_errors
from thumbq_gateway.http.files.routes import file_routes
from thumbq_gateway.http.forwarding import Forwarder, asks_for_websocket
from thumbq_gateway.http.health import Health
from thumbq_gateway.http.limited_log import protocol_logger
from thumbq_gateway.http.pages import page_routes
from thumbq_gateway.http.ports import open_own_port, open_ports
from thumbq_gateway.limits.calls import Calls
from thumbq_gateway.limits.connections import bound_connections
from thumbq_gateway.notifications.handler import Notifications
from thumbq_gateway.openapi.document import openapi_document
from thumbq_gateway.openapi.page import docs_routes
from thumbq_gateway.parts import Parts, build
from thumbq_gateway.settings import Settings
from thumbq_gateway.transcoding.finish import Finish
from thumbq_gateway.transcoding.neighbours import Neighbours
from thumbq_runtime.addresses import is_loopback
from thumbq_runtime.limits.callers import is_within
from thumbq_runtime.process import duties
from thumbq_runtime.process.lifecycle import announce_port, run_until_signal
from thumbq_runtime.process.loop_lag import watch_loop
from thumbq_runtime.tls.certificates import Certificates
from thumbq_runtime.tls.handshakes import context_of_current
from thumbq_runtime.tls.settings import warn_of_plain_text

log = structlog.get_logger()

_CHANNEL_OPTIONS = [
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    ("grpc.enable_http_proxy", 0),
]
_ACCEPT_ITERATIONS = 5  # loop iterations until accepted sockets are connections that cleanup() can close
_LINGER = 1.0  # seconds that aiohttp receives of an unread body where no handler of ours has run
_LONGEST_LINE = 64 * 1024  # bytes of a request line, so that the address of a subscription may name many models
_BEHIND = "/{path}"  # every path that no other route takes belongs to the application behind
_GRACE = 2.0  # seconds for requests in progress when the gateway stops


def register(parts: Parts, settings: Settings, channel: grpc.aio.Channel) -> web.Application:
    """Return the web application with every route of the gateway."""
    notifications = Notifications(
        parts.upstream,
        parts.fanout,
        parts.queue_relay,
        parts.progress_relay,
        parts.metrics.notifications,
        bodies=parts.bodies,
        limits=parts.limits,
        limit=settings.subscriber_limit,
    )
    exempt = _BEHIND if settings.upstream else None
    guard = guard_against_pages(
        settings.cors_origins,
        settings.names(),
        only_this_machine=is_loopback(settings.http_host),
        exempt=exempt,
    )
    limits = parts.limits
    unkeyed = JobsInWork(channel).routes() | parts.hubs.negotiated()
    roles = roles_of_routes(parts.table)
    door = Door(parts.callers, roles, unkeyed, settings.client_roles(), limits.address, limits.stranger)
    app = web.Application(middlewares=[answer_errors, guard, limits.middleware(parts.transcoder.rpcs()), door.admit])
    app.on_response_prepare.append(note_begin)
    app.add_routes(Session(parts.callers, parts.bodies, limits.address).routes())
    app.add_routes(parts.transcoder.routes())
    app.add_routes(Health(channel, parts.metrics, parts.store).routes())
    app.add_routes(docs_routes(openapi_document(parts.table)))
    app.add_routes(notifications.routes())
    app.add_routes(file_routes(settings, channel, parts.store.objects, parts.bodies))
    app.add_routes(Finish(channel, parts.together, parts.bodies).routes())
    app.add_routes(Neighbours(channel).routes())
    app.add_routes(parts.hubs.routes())
    app.add_routes(_routes_behind(settings, parts.forwarder, limits))
    protect_answers(app, exempt=exempt)
    allow_origins(app, settings.cors_origins, exempt=exempt)
    app.middlewares.insert(0, end_uploads())
    return app


def _routes_behind(settings: Settings, forwarder: Forwarder, limits: Calls) -> list[web.RouteDef]:
    """Return the routes of an application behind the gateway, or those of the live page."""
    if not settings.upstream:
        return page_routes()
    base = URL(str(settings.upstream))

    async def pass_on(request: web.Request) -> web.StreamResponse:
        is_believed = is_within(request.remote or "", settings.trusted_proxies)
        with limits.subscribe(request) if asks_for_websocket(request) else nullcontext():
            return await forwarder.forward(request, base, is_believed=is_believed)

    return [web.route("*", f"{_BEHIND[:-1]}:.*}}", pass_on)]


def _channel(settings: Settings) -> grpc.aio.Channel:
    channel = channel_to(settings.server, _CHANNEL_OPTIONS, settings.tls())
    secret = settings.secret_of_gateways()
    return KeyedChannel(channel, secret) if secret else channel


@asynccontextmanager
async def running(settings: Settings, broken: asyncio.Event) -> AsyncIterator[int]:
    """Run a gateway and yield its port. `broken` is set when it cannot continue. Raises InvalidCertificate, OSError."""
    certificates = settings.certificates()
    warn_of_plain_text(certificates, settings.http_host, settings.peer_host)
    async with _channel(settings) as channel, aclosing(build(settings, channel)) as parts:
        if not settings.tls_client_roles:
            await parts.callers.refuse_strangers()
        app = register(parts, settings, channel)
        vital = (
            parts.callers.run(),
            parts.upstream.run(),
            parts.fanout.beat(parts.upstream.head),
            parts.fanout.serve_crowd(),
            watch_loop(parts.metrics.process.loop_lag.observe),
            *parts.hubs.duties(),
            *parts.store.duties(),
        )
        async with (
            duties.running(*vital, failure="gateway.broken", broken=broken),
            _listening(app, parts, settings, certificates) as port,
        ):
            yield port


@asynccontextmanager
async def _listening(
    app: web.Application, parts: Parts, settings: Settings, certificates: Certificates | None
) -> AsyncIterator[int]:
    """Listen until the block ends, then finish every response in order. Raises OSError."""
    runner = web.AppRunner(
        app,
        access_log=None,
        logger=protocol_logger(),
        handler_cancellation=True,
        shutdown_timeout=_GRACE,
        keepalive_timeout=settings.idle_timeout,
        lingering_time=_LINGER,
        max_line_size=_LONGEST_LINE,
        auto_decompress=False,
    )
    await runner.setup()
    assert runner.server
    bound_connections(runner.server, parts.bounds, settings.trusted_proxies)
    try:
        context = context_of_current(certificates) if certificates else None
        await open_ports(settings, runner, context)
        parts.hubs.live_at(await open_own_port(settings, runner, context))
        yield int(runner.addresses[0][1])
    finally:
        for site in list(runner.sites):
            await site.stop()
        for _ in range(_ACCEPT_ITERATIONS):
            await asyncio.sleep(0)
        parts.fanout.end()
        parts.hubs.drain()
        parts.queue_relay.end()
        parts.progress_relay.end()
        parts.transcoder.end_long_polls()
        parts.bodies.close()
        await runner.cleanup()
        await parts.together.settle()


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Run a gateway until `stop` is set. Raises OSError when it cannot listen."""
    async with running(settings, stop) as port:
        log.info("gateway.ready", host=settings.http_host, port=port, server=settings.server)
        announce_port(settings.ready_fd, port)
        await stop.wait()
        log.info("gateway.stopping")
    log.info("gateway.stopped")


async def run(settings: Settings, on_hangup: Callable[[], object] = lambda: None) -> None:
    """Run a gateway until a signal. Raises SystemExit with 1 when it ends by itself, OSError when it cannot listen."""
    if not await run_until_signal(lambda stop: serve(settings, stop), on_hangup):
        raise SystemExit(1)
