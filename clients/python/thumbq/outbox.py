"""Results on their way to the server, kept until the server has acknowledged them."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from typing import Protocol

from thumbq import results
from thumbq.log_events import event
from thumbq.outcome import JobFailed, Thumbnail
from thumbq.v1.queue_pb2 import ResultCode, ResultException, StreamJobsRequest

_logger = logging.getLogger("thumbq")

RESULTS_PER_MESSAGE = 1000
# Characters of error messages, which may be four bytes each; a message has at most 4 MiB.
_TEXT_PER_MESSAGE = 500_000
# The result was not taken; any other code means that it was taken before.
_REFUSALS = (ResultCode.RESULT_CODE_INVALID, ResultCode.RESULT_CODE_STALE)
# Jobs that are named when a worker ends.
_NAMED = 20

_Batch = list[results.Entry]


class Attempts(Protocol):
    """The spans of attempts, by their lease tokens."""

    def traceparent(self, token: str) -> str:
        """Return the span of an attempt that has ended, empty for none."""

    def acknowledged(self, tokens: Iterable[str], refused: Iterable[str]) -> None:
        """Note that the server has answered these results, and refused some of them."""

    def lost(self, token: str) -> None:
        """Note that an attempt has no result."""


class Refused:
    """Counts the results that the server did not take, and names their jobs."""

    def __init__(self) -> None:
        self.completed = self.failed = 0
        self._names: list[str] = []

    def __str__(self) -> str:
        count = self.completed + self.failed
        more = f" and {count - len(self._names)} more" if count > len(self._names) else ""
        return f"{count} refused (jobs {', '.join(self._names)}{more})" if count else "none refused"

    def add(self, exception: ResultException, ending: results.Ending) -> None:
        """Count a result. A release is no loss when it comes too late: the job has gone back already."""
        if ending is None:
            return
        if isinstance(ending, Thumbnail):
            self.completed += 1
        else:
            self.failed += 1
        if len(self._names) < _NAMED:
            self._names.append(str(exception.job_id or exception.lease_token))


class Outbox:
    """Collects results into batches, one for a message, and keeps each until the server has acknowledged it."""

    def __init__(self, wake: asyncio.Event) -> None:
        self._wake = wake
        self._ready: deque[_Batch] = deque()
        self._sent: dict[int, _Batch] = {}
        self._number = 0
        self._open: _Batch = []
        self._open_text = 0
        self._unacknowledged = 0
        # Tokens of refused successes whose jobs are reported as failed meanwhile.
        self._corrected: set[str] = set()
        self.refused = Refused()
        # Where the worker traces.
        self.attempts: Attempts | None = None
        # Results of handlers that no message can hold; their jobs are reported as failed.
        self.unfit = 0

    @property
    def empty(self) -> bool:
        """Whether every result has been acknowledged."""
        return not (self._open or self._ready or self._sent)

    @property
    def unacknowledged(self) -> int:
        """The number of results that the server has not acknowledged."""
        return self._unacknowledged

    def complete(self, token: str, thumbnail: Thumbnail) -> None:
        """Add a success. It is sent as a failure if the thumbnail does not fit the types of the protocol."""
        self._add((token, thumbnail))

    def fail(self, token: str, failure: JobFailed) -> None:
        """Add a failed attempt."""
        self._add((token, failure))
        self._open_text += min(len(failure.message), results.ERROR_TEXT_LIMIT)

    def release(self, token: str) -> None:
        """Add a released job; its attempt does not count."""
        self._add((token, None))

    def add_all(self, entries: Sequence[results.Entry]) -> None:
        """Add many results at once."""
        start = 0
        while start < len(entries):
            if len(self._open) >= RESULTS_PER_MESSAGE or self._open_text > _TEXT_PER_MESSAGE:
                self._close()
            some = entries[start : start + RESULTS_PER_MESSAGE - len(self._open)]
            self._open += some
            start += len(some)
        self._unacknowledged += len(entries)
        self._wake.set()

    def take(self, *, columns: bool = False) -> StreamJobsRequest | None:
        """Return the next Results message, numbered, or None when there is nothing to send.

        `columns`: the server of this stream takes successes as columns.
        """
        if not self._ready:
            self._close()
        if not self._ready:
            return None
        batch = self._ready.popleft()
        message, unfit = results.message(
            batch, columns=columns, traceparent=self.attempts.traceparent if self.attempts else None
        )
        if unfit:
            self.unfit += len(unfit)
            batch = [(token, unfit.get(token, ending)) for token, ending in batch]
        self._number += 1
        message.results.number = self._number
        self._sent[self._number] = batch
        return message

    def acknowledge(self, number: int, exceptions: Collection[ResultException]) -> None:
        """Forget the results of one message; each refused result is added again as a failure."""
        batch = self._sent.pop(number, None)
        if batch is None:
            return
        self._unacknowledged -= len(batch)
        if self.attempts:
            refused = [exception.lease_token for exception in exceptions if exception.code in _REFUSALS]
            self.attempts.acknowledged([token for token, _ in batch], refused)
        if exceptions or self._corrected:
            endings = dict(batch)
            corrected = self._corrected.intersection(endings)
            for exception in exceptions:
                if exception.code in _REFUSALS and exception.lease_token in endings:
                    self._refuse(exception, endings[exception.lease_token])
            self._corrected -= corrected

    def resend(self) -> None:
        """Queue again, under new numbers, the results that were sent on a broken stream."""
        self._ready.extendleft(reversed(self._sent.values()))
        self._sent.clear()
        self._number = 0

    def tokens(self) -> list[str]:
        """Return the lease tokens of all unacknowledged results."""
        return [token for batch in (*self._sent.values(), *self._ready, self._open) for token, _ in batch]

    def _add(self, entry: results.Entry) -> None:
        if len(self._open) >= RESULTS_PER_MESSAGE or self._open_text > _TEXT_PER_MESSAGE:
            self._close()
        if not self._open:
            self._wake.set()
        self._open.append(entry)
        self._unacknowledged += 1

    def _close(self) -> None:
        if self._open:
            self._ready.append(self._open)
            self._open = []
            self._open_text = 0

    def _refuse(self, exception: ResultException, ending: results.Ending) -> None:
        token = exception.lease_token
        if token not in self._corrected:
            self.refused.add(exception, ending)
        job_id = exception.job_id or None
        if exception.code != ResultCode.RESULT_CODE_INVALID:
            _logger.warning(
                "The result of %s came too late: %s",
                _job(exception),
                exception.message,
                extra=event("result.stale", job_id=job_id),
            )
        elif isinstance(ending, Thumbnail):
            _logger.warning(
                "The result of %s was refused, and its attempt fails: %s",
                _job(exception),
                exception.message,
                extra=event("result.refused", job_id=job_id),
            )
            self._corrected.add(token)
            self.fail(token, JobFailed(f"The worker's result was refused: {exception.message}"))
        else:
            why = "The report on %s was refused and is dropped; its lease will run out: %s"
            _logger.error(why, _job(exception), exception.message, extra=event("report.refused", job_id=job_id))


def _job(exception: ResultException) -> str:
    # A server of before does not name the job.
    return f"job {exception.job_id}" if exception.job_id else f"the lease {exception.lease_token}"
