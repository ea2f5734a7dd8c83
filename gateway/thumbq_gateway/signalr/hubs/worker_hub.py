"""/thumbnailJobHub and /jobProcessingHub: workers get nudges here, and fetch their jobs over HTTP."""

import time
from collections.abc import Callable
from typing import Any

from thumbq.v1.job_pb2 import Job
from thumbq_gateway.protojson.encoder import encoder_of, exact_number
from thumbq_gateway.protojson.values import InvalidValue, whole_number_reader
from thumbq_gateway.signalr.hubs.hub import Hub, Member, Method, Refused
from thumbq_gateway.signalr.protocol import Record, invocation, now

PATHS = ("/thumbnailJobHub", "/jobProcessingHub")
_LONGEST_ID = 100  # characters, as in a dequeue

_print_job = encoder_of(Job.DESCRIPTOR)
_read_job_id = whole_number_reader(0, 2**63 - 1)


class Worker:
    """A registered worker. Written by WorkerHub when it comes, and by Nudges from then on."""

    __slots__ = ("asked", "asked_at", "connection", "id", "in_flight", "patience", "peak", "since")

    def __init__(self, connection: Member, worker_id: str) -> None:
        self.connection = connection
        self.id = worker_id
        self.since = time.monotonic()
        self.in_flight = 0  # jobs it holds, as far as the queue's snapshots tell
        self.peak = 0  # the most it has held
        self.asked = 0  # nudges that nothing has followed yet
        self.asked_at = time.monotonic()
        self.patience = 0.0  # seconds until it is asked again


class Workers:
    """The workers that are registered at this gateway, over both paths. A connection stands for one worker."""

    def __init__(self) -> None:
        self._by_connection: dict[Member, Worker] = {}
        self.changed: Callable[[], None] = lambda: None  # set by Nudges

    def __len__(self) -> int:
        return len(self._by_connection)

    def all(self) -> list[Worker]:
        """Return all workers."""
        return list(self._by_connection.values())

    def enter(self, connection: Member, worker_id: str) -> None:
        """Add a worker. One that registers again on its connection stays the same."""
        known = self._by_connection.get(connection)
        if known and known.id == worker_id:
            known.patience = 0.0
            self.changed()
            return
        self._by_connection[connection] = Worker(connection, worker_id)
        self.changed()

    def leave(self, connection: Member) -> None:
        """Remove the worker of a connection; harmless when it has none."""
        if self._by_connection.pop(connection, None):
            self.changed()

    def publish(self, record: Record) -> int:
        """Send a record to all workers. Return their number."""
        for connection in list(self._by_connection):
            connection.send(record)
        return len(self._by_connection)


class WorkerHub(Hub):
    """The hub of one of the two paths."""

    def __init__(self, path: str, workers: Workers) -> None:
        self._workers = workers
        methods = {
            "RegisterWorker": Method(self._register, 1),
            "UnregisterWorker": Method(self._unregister, 1),
            "AcknowledgeJobProcessing": Method(self._acknowledge, 2),
        }
        super().__init__(path, methods)

    def leave(self, connection: Member) -> None:
        """Forget a connection and its worker."""
        self._workers.leave(connection)
        super().leave(connection)

    async def _register(self, connection: Member, worker_id: Any) -> None:
        name = _worker_id(worker_id)
        connection.send(invocation("WorkerRegistered", {"workerId": name, "timestamp": now()}))
        self._workers.enter(connection, name)

    async def _unregister(self, connection: Member, worker_id: Any) -> None:
        name = _worker_id(worker_id)
        self._workers.leave(connection)
        connection.send(invocation("WorkerUnregistered", {"workerId": name, "timestamp": now()}))

    async def _acknowledge(self, _connection: Member, job_id: Any, worker_id: Any) -> None:
        try:
            number = _read_job_id(job_id)
        except InvalidValue as invalid:
            raise Refused(str(invalid.within("jobId"))) from None
        told = {"jobId": exact_number(number), "workerId": _worker_id(worker_id), "timestamp": now()}
        self._workers.publish(invocation("JobAcknowledged", told))


def job_enqueued(job: Job) -> Record:
    """Announce a job. The worker gets the first one that is due when it asks, which may be another."""
    printed = _print_job(job)
    names = ("modelId", "modelHash", "status", "attemptCount", "createdAt")
    fields = {"jobId": printed["id"]} | {name: printed.get(name) for name in names}
    return invocation("JobEnqueued", fields | {"timestamp": now()})


def job_status_changed(job_id: int, status: str, worker_id: str | None) -> Record:
    """Announce the end of a job, or that it waits again."""
    return invocation(
        "JobStatusChanged",
        {"jobId": exact_number(job_id), "status": status, "workerId": worker_id, "timestamp": now()},
    )


def _worker_id(value: object) -> str:
    name = value.strip() if isinstance(value, str) else ""
    if not name:
        raise Refused("WorkerId is required")
    if len(name) > _LONGEST_ID or not name.isprintable():
        raise Refused(f"WorkerId must be at most {_LONGEST_ID} printable characters.")
    return name
