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


def check_progress(fraction: float, text: str) -> None:
    """Raise Invalid when the fraction is not from 0 to 1, or the text is too long or not printable."""
    if not 0 <= fraction <= 1:  # so is NaN
        raise Invalid("fraction must be a number from 0 to 1")
    if len(text) > MAX_TEXT or not text.isprintable():
        raise Invalid(f"text must have at most {MAX_TEXT} printable characters")
