"""What the model of the queue keeps: jobs, thumbnails, announcements."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from thumbq_server.domain.job import NewJob, Token


class Announcement(NamedTuple):
    """One notification. Of the time of the next attempt only whether there is one."""

    status: str
    model_id: int
    job_id: int
    attempt: int
    error_message: str | None = None
    will_retry: bool = False


@dataclass
class Job:
    """What anybody can see of a job."""

    id: int
    request: NewJob
    number: int
    # a time, or seconds from the verb's call
    run_at: datetime | float | None
    status: str = "Pending"
    attempt: int = 0
    lease_seq: int = 0
    error_message: str | None = None
    worker: int | None = None
    overdue: bool = False
    rerun: int | None = None
    # the kind and the options of the request that it runs again for
    rerun_as: tuple[str, str | None] | None = None

    @property
    def token(self) -> Token:
        return Token(self.id, self.lease_seq)

    @property
    def last_number(self) -> int:
        """The number of the last request for it."""
        return max(self.number, self.rerun or 0)

    @property
    def asked_as(self) -> tuple[str, str | None]:
        """The kind and the options that it was asked for last."""
        return self.rerun_as or (self.request.kind, self.request.options)

    def is_due(self, now: datetime) -> bool:
        if isinstance(self.run_at, datetime):
            return self.status == "Pending" and self.run_at <= now
        return self.status == "Pending" and self.run_at is not None and self.run_at <= 0

    def place(self) -> tuple[datetime, int]:
        """Where it stands in the order of claims."""
        assert isinstance(self.run_at, datetime)
        return self.run_at - timedelta(seconds=60 * self.request.priority), self.id


@dataclass
class Thumbnail:
    """What a model shows."""

    job_id: int
    number: int
    attempt: int
    status: str
    error_message: str | None = None
    will_retry: bool = False
    path: str | None = None
    # the job that has made the picture
    pictured: int | None = None
    # the job has started again, or will run again, since it ended so
    is_earlier: bool = False


class Refuted(Exception):
    """What the store answered cannot be."""
