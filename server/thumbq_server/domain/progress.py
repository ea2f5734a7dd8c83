"""The rules for what a worker tells of a job under way."""

import math
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


def check_progress(fraction: float, text: str) -> tuple[float, str]:
    """Return both as they are kept. Raises Invalid: the fraction is no number.

    The nearest fraction from 0 to 1 is kept, and a text that is cut and can be printed. Refusing either would cost a
    worker the sign of life, and often its job.
    """
    if math.isnan(fraction):
        raise Invalid("progress must be a number from 0 to 1")
    return min(max(fraction, 0.0), 1.0), "".join(map(_printable, text[:MAX_TEXT]))


def _printable(character: str) -> str:
    if character.isprintable():
        return character
    return " " if character.isspace() else "\ufffd"
