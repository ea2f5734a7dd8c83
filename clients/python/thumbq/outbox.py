"""Results on their way to the server, kept until the server has acknowledged them."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable

from thumbq import results
from thumbq.outcome import JobFailed, Thumbnail
from thumbq.v1.queue_pb2 import ResultCode, ResultException, StreamJobsRequest

_logger = logging.getLogger("thumbq")

RESULTS_PER_MESSAGE = 1000
# Characters of error messages, which may be four bytes each; a message has at most 4 MiB.
_TEXT_PER_MESSAGE = 500_000

_Batch = list[results.Entry]


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

    @property
    def empty(self) -> bool:
        """Whether every result has been acknowledged."""
        return not (self._open or self._ready or self._sent)

    @property
    def unacknowledged(self) -> int:
        """The number of results that the server has not acknowledged."""
        return self._unacknowledged

    def complete(self, token: str, thumbnail: Thumbnail) -> None:
        """Add a success, or a failure if the thumbnail does not fit the types of the protocol."""
        self._add((token, thumbnail))

    def fail(self, token: str, failure: JobFailed) -> None:
        """Add a failed attempt."""
        self._add((token, failure))
        self._open_text += min(len(failure.message), results.ERROR_TEXT_LIMIT)

    def release(self, token: str) -> None:
        """Add a released job; its attempt does not count."""
        self._add((token, None))

    def take(self, *, columns: bool = False) -> StreamJobsRequest | None:
        """Return the next Results message, numbered, or None when there is nothing to send.

        `columns`: the server of this stream takes successes as columns.
        """
        if not self._ready:
            self._close()
        if not self._ready:
            return None
        batch = self._ready.popleft()
        message = results.message(batch, columns=columns)
        self._number += 1
        message.results.number = self._number
        self._sent[self._number] = batch
        return message

    def acknowledge(self, number: int, exceptions: Iterable[ResultException]) -> None:
        """Forget the results of one message; each refused result is added again as a failure."""
        batch = self._sent.pop(number, None)
        if batch is None:
            return
        self._unacknowledged -= len(batch)
        for exception in exceptions:
            if exception.code == ResultCode.RESULT_CODE_INVALID:
                self._correct(exception, batch)
            elif exception.code == ResultCode.RESULT_CODE_STALE:
                _logger.warning("A result came too late and was not taken: %s", exception.message)

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

    def _correct(self, exception: ResultException, batch: _Batch) -> None:
        refused = next((ending for token, ending in batch if token == exception.lease_token), None)
        if not isinstance(refused, Thumbnail):
            _logger.error("A report was refused and is dropped; its lease will run out: %s", exception.message)
            return
        _logger.warning("A result was refused, so its job is reported as failed: %s", exception.message)
        self.fail(exception.lease_token, JobFailed(f"The worker's result was refused: {exception.message}"))
