"""Lines that workers write into the log of a job."""

from datetime import datetime, timedelta
from typing import NamedTuple

from thumbq_server.domain.refusals import Invalid

MOST_KEPT = 200  # lines of one job
MAX_EVENT_TYPE = 100
MAX_TEXT = 1000
MAX_METADATA = 4000
# Lines in the log of a job, and a connection to a hub, extend leases until this long after the claim. ExtendLease and
# ReportProgress have no such bound.
LONGEST_KEPT_SECONDS = 2 * 60 * 60


class NewJobEvent(NamedTuple):
    """A line to be written. The storage takes the fields in this order."""

    job_id: int
    event_type: str
    message: str
    metadata: str | None
    error_message: str | None


class JobEvent(NamedTuple):
    """A line as it is kept."""

    id: int
    created_at: datetime
    event_type: str
    message: str
    metadata: str | None
    error_message: str | None


class LivingWorker(NamedTuple):
    """A worker of unary calls, and for how many seconds it has held one connection."""

    worker_id: str
    connected_seconds: float

    @classmethod
    def connected_for(cls, worker_id: str, connected: timedelta) -> "LivingWorker":
        """Return a worker. A connection that is older than any lease that it could keep counts as one of that age."""
        return cls(worker_id, min(connected.total_seconds(), LONGEST_KEPT_SECONDS))


def check_job_event(job_id: int, event_type: str, message: str, metadata: str, error_message: str) -> NewJobEvent:
    """Return a valid line. Only its type must be there. Long texts are cut: losing the line would be worse."""
    event_type = _storable(event_type, MAX_EVENT_TYPE).strip()
    if not event_type:
        raise Invalid("eventType is required")
    return NewJobEvent(
        job_id,
        event_type,
        _storable(message, MAX_TEXT),
        _storable(metadata, MAX_METADATA) or None,
        _storable(error_message, MAX_TEXT) or None,
    )


def _storable(text: str, limit: int) -> str:
    return text.replace("\0", "\ufffd")[:limit]
