"""The server, put together: the one place of the wiring."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from thumbq.v1 import (
    admin_pb2,
    admin_pb2_grpc,
    notification_pb2,
    notification_pb2_grpc,
    queue_pb2,
    queue_pb2_grpc,
)
from thumbq_runtime.files.objects import Objects
from thumbq_server.access.audit import Audit
from thumbq_server.access.keyring import Keyring
from thumbq_server.access.tickets import Tickets
from thumbq_server.domain.paths import PathRule
from thumbq_server.domain.retry import RetryPolicy
from thumbq_server.engine.operator import Operator
from thumbq_server.engine.progress import PruneProgress
from thumbq_server.engine.queue import Queue
from thumbq_server.engine.readers.hub import Hub
from thumbq_server.engine.readers.inspection import Inspection
from thumbq_server.engine.readers.join import JobEnds
from thumbq_server.engine.readers.progress_feed import ProgressFeed
from thumbq_server.engine.readers.queue_snapshots import QueueSnapshots
from thumbq_server.engine.readers.subscription import Subscriptions
from thumbq_server.engine.readers.views import Views
from thumbq_server.engine.refused_claims import RefusedClaims
from thumbq_server.engine.removal.duties import ListSuperseded, RemovePictures
from thumbq_server.engine.removal.places import FolderOfPictures, Place, StoreOfPictures
from thumbq_server.engine.sessions.registry import Sessions
from thumbq_server.engine.sessions.session import SessionTimes
from thumbq_server.engine.upkeep.duties import (
    ExpireLeases,
    PruneJobs,
    PruneLog,
    PruneWorkers,
    RecordSignsOfLife,
    RecountJobs,
    VacuumLiveTables,
)
from thumbq_server.engine.upkeep.janitor import Duty, Janitor
from thumbq_server.engine.upkeep.measuring import Measure, MeasureDisk
from thumbq_server.engine.upkeep.room import GiveBackRoom
from thumbq_server.engine.wait_spans import tracer
from thumbq_server.metrics.observer import Observer
from thumbq_server.rpc.admin_service import AdminService
from thumbq_server.rpc.notification_service import NotificationService
from thumbq_server.rpc.queue_service import QueueService
from thumbq_server.rpc.serving.health import Health
from thumbq_server.rpc.serving.reflection import add_reflection
from thumbq_server.rpc.streaming.producer_stream import ProducerStreams
from thumbq_server.rpc.streaming.streams import Streams
from thumbq_server.settings import Settings
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.durability import Durability
from thumbq_server.storage.postgres.errors import Unavailable
from thumbq_server.storage.postgres.hints import JOBS, KEYS, LOG
from thumbq_server.storage.postgres.notify import listen, pass_on

_SERVICES = (queue_pb2, notification_pb2, admin_pb2)
_RECONNECT_AFTER = 0.5
# Seconds after the grace for each remaining step of the shutdown.
_END_SECONDS = 2.0


@dataclass(frozen=True)
class Parts:
    """What a server is made of."""

    settings: Settings
    database: Database
    queue: Queue
    sessions: Sessions
    producers: ProducerStreams
    hub: Hub
    snapshots: QueueSnapshots
    progress: ProgressFeed
    views: Views
    operator: Operator
    refused_claims: RefusedClaims
    keyring: Keyring
    tickets: Tickets
    audit: Audit
    durability: Durability
    signs_of_life: RecordSignsOfLife
    janitor: Janitor
    objects: Objects | None

    def duties(self) -> list[Coroutine[Any, Any, None]]:
        """Return what the server does by itself."""
        hints = {JOBS: self.on_jobs, LOG: self.on_log, KEYS: self.keyring.wake}
        self.database.hints.wake_here(hints)
        return [
            self.queue.dispatchers.run(),
            self.queue.in_flight.run(),
            self.hub.run(),
            self.snapshots.run(),
            self.progress.run(),
            self.keyring.run(),
            self.janitor.run(),
            self._listen(hints),
            pass_on(self.database),
        ]

    async def _listen(self, hints: Mapping[str, Callable[[], None]]) -> None:
        await listen(self.database, self.settings.listen_dsn(), hints, self.sessions.on_broadcast)
        # Behind a pooler there is nothing to hear. This is no reason for the server to end.
        await asyncio.Event().wait()

    def on_jobs(self) -> None:
        """Take the hint that jobs may be due. Whatever makes them so is also in the log."""
        self.queue.dispatchers.wake()
        self.on_log()

    def on_log(self) -> None:
        """Take the hint that the log may have grown."""
        self.hub.wake()
        self.snapshots.wake()

    async def drain(self, server: grpc.aio.Server) -> None:
        """Stop claiming, let workers report and go, end every call, and commit what is under way."""
        grace = self.settings.shutdown_grace
        deadline = time.monotonic() + grace
        self.queue.dispatchers.pause()
        await self.sessions.drain(_RECONNECT_AFTER, grace)
        self.producers.close()
        self.hub.close()
        self.snapshots.close()
        self.progress.close()
        await server.stop(grace=_END_SECONDS)
        # A PostgreSQL that is silent is not waited for twice.
        with contextlib.suppress(TimeoutError, Unavailable):
            await asyncio.wait_for(self.queue.drained(), max(_END_SECONDS, deadline - time.monotonic()))
            # What the last workers ended counts as well.
            await asyncio.wait_for(self.signs_of_life(), _END_SECONDS)


def build(settings: Settings, database: Database, observer: Observer) -> Parts:
    """Make the parts of a server."""
    policy = RetryPolicy(base=settings.retry_base, cap=settings.retry_cap)
    times = _session_times(settings)
    snapshots = QueueSnapshots(database)
    views = Views(database)
    signs_of_life = RecordSignsOfLife(database, settings.unary_lease_duration)
    queue = _queue(settings, database, policy, snapshots, signs_of_life, observer)
    dispatchers = queue.dispatchers
    progress = ProgressFeed(database)
    queue.progress.on_written = progress.wake
    keyring = Keyring(database, settings.secret_of_gateways(), always_needed=settings.needs_keys())
    tickets = Tickets(database, keyring)
    audit = Audit(database, settings.audit_retention)
    objects = settings.objects()
    durability = Durability(database)
    expiry = ExpireLeases(database.lane(), policy, dispatchers.wake_in, times.silence, observer, signs_of_life.ends)
    janitor = Janitor(
        [
            Duty("expire leases", 1.0, expiry, alone=True),
            # Before leases expire after an outage: those of workers that were heard in it must not.
            Duty("record signs of life", 10.0, signs_of_life, again=1.0),
            Duty("look at settings of PostgreSQL", 30.0, durability),
            *_duties_of_tables(settings, database, queue),
            *_duties_of_access(keyring, tickets, audit),
            *_duties_of_files(settings, database, objects),
            *_duties_of_metrics(settings, database, observer),
        ],
        observer,
    )
    return Parts(
        settings=settings,
        database=database,
        queue=queue,
        sessions=Sessions(database, queue, times, signs_of_life.note),
        producers=ProducerStreams(queue),
        hub=Hub(database, observer=observer),
        snapshots=snapshots,
        progress=progress,
        views=views,
        operator=Operator(database, queue, views, observer),
        refused_claims=RefusedClaims(),
        keyring=keyring,
        tickets=tickets,
        audit=audit,
        durability=durability,
        signs_of_life=signs_of_life,
        janitor=janitor,
        objects=objects,
    )


def _queue(
    settings: Settings,
    database: Database,
    policy: RetryPolicy,
    snapshots: QueueSnapshots,
    signs_of_life: RecordSignsOfLife,
    observer: Observer,
) -> Queue:
    return Queue(
        database,
        policy=policy,
        unary_lease_seconds=settings.unary_lease_duration,
        on_claimed=snapshots.wake,
        on_dequeue=signs_of_life.hear,
        observer=observer,
        tracer=tracer(),
        limit=settings.queue_limit,
        most_in_flight=settings.jobs_in_flight_of_address,
        ends=signs_of_life.ends,
    )


def _session_times(settings: Settings) -> SessionTimes:
    return SessionTimes(
        delivery_lease=settings.delivery_lease_duration,
        lease=settings.lease_duration,
        heartbeat=settings.heartbeat_interval,
        max_age=settings.stream_max_age,
    )


def _duties_of_tables(settings: Settings, database: Database, queue: Queue) -> list[Duty]:
    return [
        Duty("vacuum live tables", 2.0, VacuumLiveTables(database, queue.dispatchers.jobs_claimed)),
        # Alone: it may wait for a lock, or read tables that a transaction keeps large.
        Duty("give back room", 2.0, GiveBackRoom(database), alone=True, may_take_long=True),
        Duty("prune log", 5.0, PruneLog(database, settings.notification_retention)),
        Duty("prune workers", 600.0, PruneWorkers(database, settings.worker_retention)),
        Duty("prune jobs", 5.0, PruneJobs(database, settings.job_retention)),
        Duty("count jobs", 3600.0, RecountJobs(database), alone=True),
        Duty("look for versions", 2.0, queue.versions),
        Duty("look for traces", 2.0, queue.traces),
        Duty("record progress", 1.0, queue.progress),
        Duty("prune progress", 10.0, PruneProgress(database)),
    ]


def _duties_of_access(keyring: Keyring, tickets: Tickets, audit: Audit) -> list[Duty]:
    return [
        Duty("record used keys", 10.0, keyring),
        Duty("renew signing keys", 5.0, tickets),
        Duty("write audit log", 1.0, audit.write),
        Duty("prune audit log", 600.0, audit.prune),
    ]


def _duties_of_metrics(settings: Settings, database: Database, observer: Observer) -> list[Duty]:
    if settings.metrics_port is None:
        return []
    # Alone: the others may wait for a database that is frozen, or whose disk is full.
    measure = Duty("measure", 5.0, Measure(database, observer), alone=True)
    if settings.database_folder is None:
        return [measure]
    return [measure, Duty("look at the disk", 5.0, MeasureDisk(settings.database_folder, observer), alone=True)]


def _duties_of_files(settings: Settings, database: Database, objects: Objects | None) -> list[Duty]:
    """Return what is done for the files and objects of pictures; nothing where the server does not have them."""
    places: list[Place] = []
    if objects:
        places.append(StoreOfPictures(objects))
    if settings.thumbnail_root:
        places.append(FolderOfPictures(settings.thumbnail_root))
    if not places:
        return []
    return [
        Duty("list superseded pictures", 60.0, ListSuperseded(database, settings.superseded_grace)),
        Duty("remove pictures", 2.0, RemovePictures(database, places), alone=True),
    ]


def register(parts: Parts, health: Health, server: grpc.aio.Server) -> Sequence[str]:
    """Add the services to `server`. Return their names."""
    paths = PathRule(parts.settings.roots(), parts.objects.address if parts.objects else "")
    streams = Streams(parts.sessions, paths)
    subscriptions = Subscriptions(parts.database, parts.hub)
    ends = JobEnds(parts.views, subscriptions)
    queue_pb2_grpc.add_QueueServiceServicer_to_server(
        QueueService(parts.queue, parts.views, ends, streams, parts.producers, paths), server
    )
    notification_pb2_grpc.add_NotificationServiceServicer_to_server(
        NotificationService(parts.views, subscriptions, parts.snapshots, parts.progress, parts.tickets), server
    )
    keeps_jobs_back = parts.queue.dispatchers.keep_jobs_back
    inspection = Inspection(parts.database, parts.views, parts.queue.pressure, parts.refused_claims, keeps_jobs_back)
    admin = AdminService(parts.operator, inspection, parts.refused_claims, parts.keyring, parts.tickets, parts.audit)
    admin_pb2_grpc.add_AdminServiceServicer_to_server(admin, server)
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    names = [service.full_name for module in _SERVICES for service in module.DESCRIPTOR.services_by_name.values()]
    health_name = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
    add_reflection([*names, health_name], server)
    return names
