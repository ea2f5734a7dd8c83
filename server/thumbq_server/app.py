"""The server, put together: the only wiring there is, and the order in which it ends."""

import asyncio
import contextlib
import gc
import ipaddress
import json
import os
import signal

import grpc
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer
from grpc_reflection.v1alpha import reflection

from thumbq.v1 import (
    admin_pb2,
    admin_pb2_grpc,
    notification_pb2,
    notification_pb2_grpc,
    queue_pb2,
    queue_pb2_grpc,
)
from thumbq_server.domain.requests import PathRule
from thumbq_server.domain.retry import RetryPolicy
from thumbq_server.engine.hub import Hub
from thumbq_server.engine.janitor import Duty, Janitor, expire_leases, prune_log, vacuum_live_tables
from thumbq_server.engine.queue import Queue
from thumbq_server.engine.queue_watch import QueueWatch
from thumbq_server.rpc.admin_service import AdminService
from thumbq_server.rpc.notification_service import NotificationService
from thumbq_server.rpc.queue_service import QueueService
from thumbq_server.rpc.stream import MISSED_HEARTBEATS, StreamTimes
from thumbq_server.rpc.stream_service import Streams
from thumbq_server.settings import Settings
from thumbq_server.storage.migrations import upgrade
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.notify import JOBS, LOG, listen

log = structlog.get_logger()

MAX_MESSAGE = 16 * 1024 * 1024
_OPTIONS = [
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
]
_SERVICES = (queue_pb2, notification_pb2, admin_pb2)


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Run a server until `stop` is set; then end in order."""
    dsn = settings.dsn()
    await upgrade(dsn)
    async with (
        Database(dsn, statement_timeout=settings.statement_timeout) as database,
        contextlib.AsyncExitStack() as cleanup,
    ):
        policy = RetryPolicy(base=settings.retry_base, cap=settings.retry_cap)
        paths = PathRule(settings.thumbnail_roots)
        hub = Hub(database)
        watch = QueueWatch(database)
        claims = 0

        def claimed(jobs: int) -> None:
            nonlocal claims
            claims += jobs
            watch.wake()

        queue = Queue(database, policy=policy, unary_lease_seconds=settings.unary_lease_duration, claimed=claimed)
        dispatcher = queue.dispatcher
        times = StreamTimes(
            delivery_lease=settings.delivery_lease_duration,
            lease=settings.lease_duration,
            heartbeat=settings.heartbeat_interval,
            max_age=settings.stream_max_age,
        )
        streams = Streams(database, queue, paths, times)
        patience = MISSED_HEARTBEATS * settings.heartbeat_interval
        janitor = Janitor(
            [
                Duty("expire leases", 1.0, expire_leases(database.lane(), policy, dispatcher.wake_in, patience)),
                Duty("vacuum live tables", 2.0, vacuum_live_tables(database, lambda: claims)),
                Duty("prune log", 5.0, prune_log(database, settings.notification_retention)),
            ]
        )

        def heard_log() -> None:
            hub.wake()
            watch.wake()

        def heard_jobs() -> None:
            dispatcher.wake()
            heard_log()

        # unasked, two servers on one port would share it without a word
        server = grpc.aio.server(options=[*_OPTIONS, ("grpc.so_reuseport", int(settings.reuse_port))])
        health = HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(health, server)
        queue_pb2_grpc.add_QueueServiceServicer_to_server(
            QueueService(database, queue, hub, streams, paths, settings.unary_lease_duration), server
        )
        notification_pb2_grpc.add_NotificationServiceServicer_to_server(
            NotificationService(database, hub, watch), server
        )
        admin_pb2_grpc.add_AdminServiceServicer_to_server(AdminService(database, queue, streams), server)
        names = [service.full_name for module in _SERVICES for service in module.DESCRIPTOR.services_by_name.values()]
        reflection.enable_server_reflection(
            [*names, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name], server
        )

        for duty in (
            dispatcher.run(),
            hub.run(),
            watch.run(),
            janitor.run(),
            listen(dsn, {JOBS: heard_jobs, LOG: heard_log}, streams.heard),
        ):
            cleanup.callback(asyncio.create_task(_vital(duty, stop)).cancel)

        port = server.add_insecure_port(f"{settings.grpc_host}:{settings.grpc_port}")
        await server.start()
        for name in ("", *names):
            await health.set(name, health_pb2.HealthCheckResponse.SERVING)
        log.info("server.ready", host=settings.grpc_host, port=port)
        _tell_parent(settings.ready_fd, port)
        await stop.wait()

        log.info("server.draining", grace=settings.shutdown_grace)
        await health.enter_graceful_shutdown()
        dispatcher.pause()
        await streams.drain(reconnect_after=0.5, grace=settings.shutdown_grace)
        hub.close()
        watch.close()
        await server.stop(grace=2)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(queue.drained(), settings.shutdown_grace)
    log.info("server.stopped")


async def _vital(duty: asyncio.Future[None] | object, stop: asyncio.Event) -> None:
    """Run what the server cannot do without; if it fails, the server ends, and its parent starts another."""
    try:
        await duty  # type: ignore[misc]
    except asyncio.CancelledError:
        raise
    except Exception:
        log.exception("server.broken")
        stop.set()


def _tell_parent(ready_fd: int | None, port: int) -> None:
    if ready_fd is not None:
        with os.fdopen(ready_fd, "w") as pipe:
            pipe.write(json.dumps({"port": port}) + "\n")


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine can reach `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


async def run(settings: Settings) -> None:
    """`serve` until SIGTERM or SIGINT; a second signal ends the process at once."""
    # a batch is thousands of objects that die by reference count: looking for cycles among them was a third of the CPU
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def signalled() -> None:
        if stop.is_set():
            os._exit(1)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signalled)
    await serve(settings, stop)
