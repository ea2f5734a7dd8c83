"""The server's run: what it needs before it serves, and the order in which it ends."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial

import grpc
import structlog

from thumbq_runtime.addresses import free_port
from thumbq_runtime.connections import connections_needed, pool_size
from thumbq_runtime.limits.bounds import Bounds
from thumbq_runtime.limits.rates import Kind, Rates
from thumbq_runtime.process import duties
from thumbq_runtime.process.lifecycle import announce_port
from thumbq_runtime.process.loop_lag import watch_loop
from thumbq_runtime.settings.declaration import InvalidSetting
from thumbq_runtime.tls.certificates import Certificates
from thumbq_runtime.tls.settings import warn_of_plain_text
from thumbq_server.access.door import Door
from thumbq_server.access.keyring import Keyring
from thumbq_server.engine.outage import Outage, Unavailable
from thumbq_server.engine.upkeep.readiness import Readiness
from thumbq_server.metrics.observer import Observer
from thumbq_server.parts import build, register
from thumbq_server.rpc.interceptors.guard import Guard
from thumbq_server.rpc.interceptors.limits import Limits
from thumbq_server.rpc.serving.health import Health
from thumbq_server.rpc.serving.ports import check_socket, open_ports
from thumbq_server.settings import Settings
from thumbq_server.storage.migrations import upgrade
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.errors import lacks_room
from thumbq_server.storage.postgres.suitability import Unsuitable, check_database, check_listener

log = structlog.get_logger()

# The default of gRPC, which keeps several copies of a message while it arrives.
LARGEST_REQUEST = 4 * 1024 * 1024
LARGEST_ANSWER = 16 * 1024 * 1024
_LOOK_FOR_ROOM_SECONDS = 1.0
_WRONG_KEYS = 1.0  # a second from one address, after ten at once
_OPTIONS = [
    ("grpc.max_receive_message_length", LARGEST_REQUEST),
    ("grpc.max_send_message_length", LARGEST_ANSWER),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # A peer that is gone keeps its streams for a minute. A machine that stands still for half of one keeps them too.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 40_000),
    ("grpc.http2.max_pings_without_data", 0),
    # Calls of one connection at the same time. All callers of a gateway share one, where each may wait for a job.
    ("grpc.max_concurrent_streams", 50_000),
    # gRPC applies the limit above once the peer has confirmed the settings, within this time.
    ("grpc.http2.settings_timeout", 20_000),
    # A connection that sends nothing, or does not finish its TLS handshake, is closed after 20 s; gRPC's default is two
    # minutes.
    ("grpc.server_handshake_timeout_ms", 20_000),
]


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Run a server until `stop` is set; then end in order."""
    async with running(settings, stop) as port:
        log.info("server.ready", host=settings.grpc_host, port=port)
        announce_port(settings.ready_fd, port)
        await stop.wait()
        log.info("server.draining", grace=settings.shutdown_grace)
    log.info("server.stopped")


@contextlib.asynccontextmanager
async def running(settings: Settings, broken: asyncio.Event) -> AsyncIterator[int]:
    """Run a server on the port that is yielded, and drain it. `broken` is set when it cannot go on.

    Raises Unsuitable, InvalidAddress, InvalidCertificate or InvalidSetting when only another configuration helps, else
    CannotListen or Unavailable.
    """
    certificates = settings.certificates()
    warn_of_plain_text(certificates, settings.grpc_host)
    check_socket(settings)
    if not settings.reuse_port:
        # gRPC would tell no reason.
        free_port(settings.grpc_host, settings.grpc_port)
    dsn = settings.dsn()
    await _once_there_is_room(partial(_prepare, settings, dsn), broken)
    with observing(settings, certificates) as observer:
        async with serving(settings, dsn, observer, broken, certificates) as port:
            yield port


async def _prepare(settings: Settings, dsn: str) -> None:
    """Look whether the database suits, and bring its tables to this version."""
    await check_database(dsn, connections_needed(settings.processes, settings.database_connections))
    await check_listener(dsn, settings.listen_dsn())
    await upgrade(dsn)


async def _once_there_is_room(begin: Callable[[], Awaitable[object]], stop: asyncio.Event) -> None:
    """Begin as soon as PostgreSQL has a connection left. Raises Unavailable when `stop` is set before."""
    outage = Outage("start")
    while True:
        try:
            await begin()
        except Unavailable as error:
            if not lacks_room(error) or stop.is_set():
                raise
            outage.began(error)
        else:
            outage.ended()
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_FOR_ROOM_SECONDS):
                await stop.wait()


@contextlib.asynccontextmanager
async def serving(
    settings: Settings, dsn: str, observer: Observer, broken: asyncio.Event, certificates: Certificates | None
) -> AsyncIterator[int]:
    """Run a server on a database that suits it."""
    async with _opened(settings, dsn, observer, broken) as database:
        parts = build(settings, database, observer)
        await parts.queue.versions()
        await parts.queue.traces()
        await parts.keyring.look()
        await parts.tickets.look()
        await parts.durability()
        _refuse_strangers(settings, parts.keyring)
        observer.admit_only(parts.keyring.may_read)
        # By default gRPC sets SO_REUSEPORT: two servers would share one port without a warning.
        options = [*_OPTIONS, ("grpc.so_reuseport", int(settings.reuse_port))]
        rates = Rates(settings.rates() | {Kind.WRONG_KEYS: _WRONG_KEYS}, observer.refused)
        parts.queue.in_flight.on_refused = rates.note
        bounds = Bounds(settings.bounds(), rates.note)
        refused_claim = parts.refused_claims.note
        parts.queue.in_flight.on_refused_claim = refused_claim
        limits = Limits(rates, bounds, settings.networks_of_gateways(), refused_claim)
        server = grpc.aio.server(
            options=options,
            interceptors=[Door(parts.keyring, settings.client_roles(), parts.audit, rates), Guard(observer), limits],
        )
        health = Health(lambda: parts.durability.risk)
        names = register(parts, health, server)

        def tell(reason: str | None) -> None:
            observer.ready(reason is None)
            health.tell(reason)

        readiness = Readiness(database, parts.janitor, tell)
        await readiness.look()
        own = (readiness.run(), watch_loop(observer.loop_lag))
        async with duties.running(*parts.duties(), *own, failure="server.broken", broken=broken):
            port = open_ports(server, settings, certificates)
            health.serve(["", *names])
            await server.start()
            yield port
            health.end()
            await parts.drain(server)


@contextlib.asynccontextmanager
async def _opened(settings: Settings, dsn: str, observer: Observer, broken: asyncio.Event) -> AsyncIterator[Database]:
    """Open the database. Others may have taken the connections with which it was prepared."""
    size = pool_size(settings.database_connections)
    database = Database(dsn, statement_timeout=settings.statement_timeout, pool_size=size, observer=observer)
    async with contextlib.AsyncExitStack() as stack:
        await _once_there_is_room(partial(stack.enter_async_context, database), broken)
        yield database


def _refuse_strangers(settings: Settings, keyring: Keyring) -> None:
    """Refuse to serve other machines before there is a key. Raises Unsuitable."""
    if settings.needs_keys() and not keyring.exist and not settings.tls_client_roles:
        raise Unsuitable(
            f"refusing to listen on {settings.grpc_host or 'every address'} before there is an API key: make one with"
            " `thumbq keys create --role admin --name NAME` (while thumbq listens on 127.0.0.1, or with --database), or"
            " set THUMBQ_INSECURE=1 (--insecure) if the network is trusted"
        )


@contextlib.contextmanager
def observing(settings: Settings, certificates: Certificates | None) -> Iterator[Observer]:
    """Yield what counts the work of the server, and shows it to Prometheus if a port is set.

    Raises InvalidSetting, CannotListen.
    """
    if settings.metrics_port is None:
        yield Observer()
        return
    # loaded here, since it takes a while and few servers on a desk need it
    from thumbq_server.metrics.counters import Counters

    if settings.metrics_port:
        if settings.metrics_port == settings.grpc_port:
            raise InvalidSetting(f"The gRPC API and the metrics cannot both have the port {settings.grpc_port}.")
        # says why it cannot
        free_port(settings.grpc_host, settings.metrics_port)
    counters = Counters(settings.database_folder)
    with counters.serving(settings.grpc_host, settings.metrics_port, certificates) as port:
        log.info("metrics.ready", host=settings.grpc_host, port=port)
        yield counters
