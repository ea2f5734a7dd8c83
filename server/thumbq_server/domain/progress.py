"""The rules for what a worker tells of a job under way."""

from datetime import datetime
from typing import NamedTuple

from thumbq_server.domain.job import Token
from thumbq_server.domain.refusals import Invalid

MAX_TEXT = 200


class Progress(NamedTuple):
    """How far a job has come under a lease."""

    token: Token
    fraction: float
    message: str


class ProgressRecord(NamedTuple):
    """The same as anybody may see it, and when it was written down."""

    fraction: float
    message: str
    reported_at: datetime


class HeldLease(NamedTuple):
    """The lease of a worker that has just told something of its job."""

    lease_seq: int
    session: int
    expires_at: datetime


class JobProgress(NamedTuple):
    """How far a job under way has come, for those who follow its model. The storage returns the fields so ordered."""

    model_id: int
    job_id: int
    attempt: int
    fraction: float
    message: str
    reported_at: datetime


def check_progress(fraction: float, text: str, names: tuple[str, str] = ("fraction", "text")) -> None:
    """Raise Invalid when the fraction is not from 0 to 1, or the text is too long or not printable."""
    if not 0 <= fraction <= 1:  # so is NaN
        raise Invalid(f"{names[0]} must be a number from 0 to 1")
    if len(text) > MAX_TEXT or not text.isprintable():
        raise Invalid(f"{names[1]} must have at most {MAX_TEXT} printable characters")
