"""What an operator sees, as messages."""

from functools import cache
from importlib.metadata import version

from thumbq.v1 import admin_pb2
from thumbq_server.domain.job import AttemptOutcome
from thumbq_server.domain.operations import Pause, Quantiles, Statistics, WorkerState
from thumbq_server.domain.records import AttemptRecord
from thumbq_server.domain.waiting import Explanation, WaitReason
from thumbq_server.rpc.codec.jobs import job
from thumbq_server.rpc.codec.times import duration, optional_timestamp, timestamp

_OUTCOME = {outcome: admin_pb2.AttemptOutcome.Value(f"ATTEMPT_OUTCOME_{outcome.name}") for outcome in AttemptOutcome}
_REASON = {
    WaitReason.NONE: admin_pb2.WAIT_REASON_UNSPECIFIED,
    WaitReason.NOT_DUE: admin_pb2.WAIT_REASON_NOT_DUE,
    WaitReason.PAUSED: admin_pb2.WAIT_REASON_PAUSED,
    WaitReason.NO_WORKER: admin_pb2.WAIT_REASON_NO_WORKER,
    WaitReason.WORKERS_FULL: admin_pb2.WAIT_REASON_WORKERS_FULL,
    WaitReason.RATE_LIMITED: admin_pb2.WAIT_REASON_RATE_LIMITED,
}


def statistics(found: Statistics) -> admin_pb2.GetStatsResponse:
    """Return the queue in figures."""
    depth, durations = found.depth, found.durations
    return admin_pb2.GetStatsResponse(
        **depth.counters._asdict(),
        oldest_pending_age=None if depth.oldest_age is None else duration(depth.oldest_age),
        paused=depth.pause is not None,
        pause=pause(depth.pause),
        minutes=[
            admin_pb2.MinuteActivity(**row._asdict() | {"minute": timestamp(row.minute)}) for row in found.minutes
        ],
        wait_time=_quantiles(durations.wait, durations.samples),
        processing_time=_quantiles(durations.processing, durations.samples),
        workers=depth.workers,
        queue_limit=found.limit or 0,
        pressure=found.pressure,
        server_version=_version(),
    )


def pause(row: Pause | None) -> admin_pb2.Pause | None:
    """Return a pause, or None for None."""
    if row is None:
        return None
    return admin_pb2.Pause(paused_at=timestamp(row.paused_at), paused_by=row.paused_by, reason=row.reason)


def worker(row: WorkerState) -> admin_pb2.WorkerInfo:
    """Return a session of a worker."""
    return admin_pb2.WorkerInfo(
        worker_id=row.worker_id,
        session_id=row.session_id,
        version=row.version,
        in_flight=row.in_flight,
        first_seen_at=timestamp(row.first_seen_at),
        last_seen_at=timestamp(row.last_seen_at),
        labels=dict(row.labels),
        gone=row.gone,
        completed=row.completed,
        failed=row.failed,
        completed_per_minute=row.completed_per_minute,
    )


def attempt(row: AttemptRecord) -> admin_pb2.Attempt:
    """Return an attempt that has ended."""
    return admin_pb2.Attempt(
        attempt=row.attempt,
        worker_id=row.worker_id or "",
        claimed_at=optional_timestamp(row.claimed_at),
        ended_at=timestamp(row.ended_at),
        outcome=_OUTCOME[row.outcome],
        error_message=row.error_message or "",
        next_attempt_at=optional_timestamp(row.next_attempt_at),
    )


def explanation(found: Explanation) -> admin_pb2.ExplainJobResponse:
    """Return why a job waits."""
    return admin_pb2.ExplainJobResponse(
        job=job(found.job, found.progress),
        reason=_REASON[found.reason],
        sentence=found.sentence,
        ahead=found.ahead,
        workers=found.workers,
        pause=pause(found.pause),
    )


@cache
def _version() -> str:
    return version("thumbq")


def _quantiles(found: Quantiles | None, samples: int) -> admin_pb2.Quantiles | None:
    if found is None:
        return None
    p50, p95, p99 = map(duration, found)
    return admin_pb2.Quantiles(p50=p50, p95=p95, p99=p99, samples=samples)
