"""Announces work to the registered workers for as long as jobs wait.

A worker of generation 1 takes one job for each `JobEnqueued` message, and drops the message when it is busy. A nudge
therefore proves nothing; the state of the queue does. A worker that took nothing is asked again, soon at first and then
less and less often. A new job, or a claim or an outcome of the worker's own, starts that over.
"""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from itertools import cycle
from typing import NoReturn

import grpc

from thumbq.v1.job_pb2 import Job, JobStatus, ThumbnailStatus
from thumbq.v1.notification_pb2 import Notification, QueueSnapshot
from thumbq.v1.queue_pb2 import ListJobsRequest
from thumbq.v1.queue_pb2_grpc import QueueServiceStub
from thumbq_gateway.metrics import HubMetrics
from thumbq_gateway.notifications.relays.queue_relay import QueueRelay
from thumbq_gateway.notifications.upstream import back_off
from thumbq_gateway.signalr.hubs.worker_hub import Worker, Workers, job_enqueued, job_status_changed

_SWEEP = 2.0  # seconds between looks at the queue when no news of it come
_SHORTEST_PAUSE = 0.1  # seconds between two looks
_FIRST_PATIENCE, _LAST_PATIENCE = 0.25, 8.0  # seconds until a worker that took nothing is asked again
_USUAL_ROOM = 3  # jobs at once, of a worker that has not shown yet how many it takes
_LOOK_AT = 100  # Pending jobs
_MOST_TOLD = 100  # changes of status a second: workers only write them into their logs
_DEADLINE = 10.0  # seconds

_OUTCOMES = {
    ThumbnailStatus.THUMBNAIL_STATUS_READY: "Completed",
    ThumbnailStatus.THUMBNAIL_STATUS_FAILED: "Failed",
}


class Nudges:
    """Matches waiting jobs and registered workers of this gateway."""

    def __init__(
        self, channel: grpc.aio.Channel, workers: Workers, queue_relay: QueueRelay, metrics: HubMetrics
    ) -> None:
        self._queue = QueueServiceStub(channel)
        self._workers = workers
        self._queue_relay = queue_relay
        self._nudged = metrics.events.labels("JobEnqueued")
        self._told = metrics.events.labels("JobStatusChanged")
        self._wake = asyncio.Event()
        self._is_watching = False
        self._due: set[int] = set()  # jobs that waited at the last look
        self._holders: dict[int, str] = {}  # worker ids by job, as of the last snapshot
        self._server_ahead: float | None = None  # seconds that the database's clock is ahead of ours
        self._told_in: tuple[int, int] = (0, 0)  # this second, and how many changes were told in it
        workers.changed = self._workers_changed

    def hear(self, notifications: Sequence[Notification]) -> None:
        """Look at the queue after a job came in or ended."""
        if not self._workers:
            return
        came_in = False
        for notification in notifications:
            if notification.test:
                continue
            if outcome := _OUTCOMES.get(notification.status):
                self._ended(notification, outcome)
            else:
                came_in = True
        if came_in:
            self._expect_interest()
        self._wake.set()

    def hear_snapshot(self, snapshot: QueueSnapshot) -> None:
        """Learn how many jobs each worker holds. A worker that has taken one may have room for the next."""
        self._server_ahead = snapshot.timestamp.ToMicroseconds() / 1e6 - time.time()
        self._holders = {rendering.job_id: rendering.worker_id for rendering in snapshot.rendering}
        held = list(self._holders.values())
        for worker in self._workers.all():
            in_flight = held.count(worker.id)
            if in_flight > worker.in_flight:
                _expect_more(worker)
                self._wake.set()
            worker.in_flight = in_flight
            worker.peak = max(worker.peak, in_flight)

    async def run(self) -> NoReturn:
        """Nudge for ever."""
        pauses = back_off()
        while True:
            woken = await self._rest()
            if not self._workers:
                continue
            try:
                due = await self._due_jobs()
                pauses = back_off()
            except grpc.aio.AioRpcError:
                await asyncio.sleep(next(pauses))
                self._wake.set()
                continue
            seen, self._due = self._due, {job.id for job in due}
            if self._due - seen:
                self._expect_interest()
                woken = True
            if due:
                self._spread(due, woken=woken)
            await asyncio.sleep(_SHORTEST_PAUSE)

    def _workers_changed(self) -> None:
        if self._is_watching != bool(self._workers):
            self._is_watching = bool(self._workers)
            if self._is_watching:
                self._queue_relay.enter()
            else:
                self._queue_relay.leave()
        self._wake.set()

    async def _rest(self) -> bool:
        """Wait for news or for the time to ask again. Return whether there was news."""
        seconds: float | None = _SWEEP if self._workers else None
        if self._due and self._workers:
            next_time = min(worker.asked_at + worker.patience for worker in self._workers.all())
            seconds = min(_SWEEP, max(0.0, next_time - time.monotonic()))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        woken = self._wake.is_set()
        self._wake.clear()
        return woken

    async def _due_jobs(self) -> list[Job]:
        """Return jobs that a worker could fetch now, the oldest first; not all of them."""
        request = ListJobsRequest(status=JobStatus.JOB_STATUS_PENDING, page_size=_LOOK_AT)
        answer = await self._queue.ListJobs(request, timeout=_DEADLINE)
        jobs = list(reversed(answer.jobs))
        due = [job for job in jobs if self._is_due(job)]
        return due or (jobs if answer.next_page_token else [])

    def _is_due(self, job: Job) -> bool:
        if self._server_ahead is None or not job.HasField("run_at"):
            return True
        return job.run_at.ToMicroseconds() / 1e6 <= time.time() + self._server_ahead

    def _spread(self, due: Sequence[Job], *, woken: bool) -> None:
        """After news, nudge one worker for each job, those that hold least first. Otherwise nudge each that is late."""
        now = time.monotonic()
        workers = self._workers.all()
        late = [worker for worker in workers if now - worker.asked_at >= worker.patience]
        for worker in late:
            worker.asked = 0
        jobs = cycle(due)
        if woken:
            wanted = len(due) - sum(worker.asked for worker in workers)
            while wanted > 0 and (free := [worker for worker in workers if _room(worker) > 0]):
                best = min(free, key=lambda worker: (worker.in_flight + worker.asked, worker.asked_at))
                self._nudge(best, next(jobs), now)
                wanted -= 1
            # For jobs that are left over, a worker that seems full may have more room than the usual.
            late = [worker for worker in late if worker.asked_at != now] if wanted > 0 else []
        for worker in late:
            worker.patience = min(_LAST_PATIENCE, max(_FIRST_PATIENCE, 2 * worker.patience))
            self._nudge(worker, next(jobs), now)

    def _expect_interest(self) -> None:
        """Ask soon again: a worker that took no job before may take a new one."""
        for worker in self._workers.all():
            worker.patience = _FIRST_PATIENCE

    def _nudge(self, worker: Worker, job: Job, now: float) -> None:
        worker.asked += 1
        worker.asked_at = now
        worker.patience = worker.patience or _FIRST_PATIENCE
        worker.connection.send(job_enqueued(job))
        self._nudged.inc()

    def _ended(self, notification: Notification, outcome: str) -> None:
        holder = self._holders.pop(notification.job_id, None)
        for worker in self._workers.all() if holder else ():
            if worker.id == holder:
                worker.in_flight = max(0, worker.in_flight - 1)
                _expect_more(worker)
        second = int(time.monotonic())
        told = self._told_in[1] if self._told_in[0] == second else 0
        if told < _MOST_TOLD:
            self._told_in = second, told + 1
            status = "Pending" if notification.will_retry else outcome
            self._told.inc(self._workers.publish(job_status_changed(notification.job_id, status, holder)))


def _room(worker: Worker) -> int:
    """Return how many more nudges may find the worker free."""
    return min(_USUAL_ROOM, max(_USUAL_ROOM, worker.peak) - worker.in_flight) - worker.asked


def _expect_more(worker: Worker) -> None:
    worker.asked = 0
    worker.patience = _FIRST_PATIENCE
