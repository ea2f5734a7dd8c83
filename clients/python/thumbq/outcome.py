"""The ways in which a handler ends its job."""

from __future__ import annotations

from typing import NamedTuple


class Thumbnail(NamedTuple):
    """The picture that a handler made; returning it completes the job.

    `path` is absolute, at most 500 characters, without "..". `size_bytes` is not negative, `width` and
    `height` are pixels, 1 or more. The queue refuses any other result, and the attempt then counts as failed.
    """

    path: str
    size_bytes: int
    width: int
    height: int


class JobFailed(Exception):
    """The attempt failed; a handler raises this.

    With `retryable=False` the job is not retried, even if attempts are left. `retry_delay` (seconds, at
    most one day) takes the place of the queue's own back-off.
    """

    def __init__(self, message: str, retryable: bool = True, retry_delay: float | None = None) -> None:
        super().__init__(message)
        if retry_delay is not None and not 0 <= retry_delay <= 86_400:
            raise ValueError(f"retry_delay must be 0 to 86400 seconds, not {retry_delay}")
        self.message = str(message)
        self.retryable = retryable
        self.retry_delay = retry_delay


class JobReleased(Exception):
    """The job goes back to the queue; a handler raises this. The attempt does not count."""
