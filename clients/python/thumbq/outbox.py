"""Results on their way to the server, kept until the server has acknowledged them."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Collection, Iterator

from thumbq.outcome import JobFailed, Thumbnail
from thumbq.v1.job_pb2 import Result
from thumbq.v1.queue_pb2 import ResultCode, ResultException, StreamJobsRequest

_logger = logging.getLogger("thumbq")

RESULTS_PER_MESSAGE = 1000
# Characters of error messages, which may be four bytes each; a message has at most 4 MiB.
_TEXT_PER_MESSAGE = 500_000
# The queue keeps 1000 characters and marks a text that it has cut, so longer texts need not be sent.
_ERROR_TEXT_LIMIT = 2000
_PATH_LIMIT = 500
# The result was not taken; any other code means that it was taken before.
_REFUSALS = (ResultCode.RESULT_CODE_INVALID, ResultCode.RESULT_CODE_STALE)
# Jobs that are named when a worker ends.
_NAMED = 20


class Refused:
    """Counts the results that the server did not take, and names their jobs."""

    def __init__(self) -> None:
        self.completed = self.failed = 0
        self._names: list[str] = []

    def __str__(self) -> str:
        count = self.completed + self.failed
        more = f" and {count - len(self._names)} more" if count > len(self._names) else ""
        return f"{count} refused (jobs {', '.join(self._names)}{more})" if count else "none refused"

    def add(self, exception: ResultException, result: Result) -> None:
        """Count a result. A release is no loss when it comes too late: the job has gone back already."""
        if result.HasField("release"):
            return
        if result.HasField("complete"):
            self.completed += 1
        else:
            self.failed += 1
        if len(self._names) < _NAMED:
            self._names.append(str(exception.job_id or exception.lease_token))


class Outbox:
    """Collects results into messages, and keeps each message until the server has acknowledged it."""

    def __init__(self, wake: asyncio.Event) -> None:
        self._wake = wake
        self._ready: deque[StreamJobsRequest] = deque()
        self._sent: dict[int, StreamJobsRequest] = {}
        self._number = 0
        self._open = StreamJobsRequest()
        self._open_count = 0
        self._open_text = 0
        self._unacknowledged = 0
        # Tokens of refused successes whose jobs are reported as failed meanwhile.
        self._corrected: set[str] = set()
        self.refused = Refused()
        # Results of handlers that no message can hold; their jobs are reported as failed.
        self.unfit = 0

    @property
    def empty(self) -> bool:
        """Whether every result has been acknowledged."""
        return not (self._open_count or self._ready or self._sent)

    @property
    def unacknowledged(self) -> int:
        """The number of results that the server has not acknowledged."""
        return self._unacknowledged

    def complete(self, token: str, thumbnail: Thumbnail) -> None:
        """Add a success, or a failure if the thumbnail does not fit the types of the protocol."""
        result = self._add(token)
        try:
            if len(thumbnail.path) > _PATH_LIMIT:
                raise ValueError(f"the thumbnail's path is longer than {_PATH_LIMIT} characters")
            complete = result.complete
            complete.thumbnail_path, complete.size_bytes, complete.width, complete.height = thumbnail
        except (TypeError, ValueError) as error:
            result.ClearField("outcome")
            self.unfit += 1
            self._fill_failure(result, JobFailed(f"{type(error).__name__}: {error}"))

    def fail(self, token: str, failure: JobFailed) -> None:
        """Add a failed attempt."""
        result = self._add(token)
        self._fill_failure(result, failure)
        self._open_text += len(result.fail.error_message)

    def release(self, token: str) -> None:
        """Add a released job; its attempt does not count."""
        self._add(token).release.SetInParent()

    def take(self) -> StreamJobsRequest | None:
        """Return the next Results message, numbered, or None when there is nothing to send."""
        if self._ready:
            message = self._ready.popleft()
        elif self._open_count:
            message = self._open
            self._open = StreamJobsRequest()
            self._open_count = self._open_text = 0
        else:
            return None
        self._number += 1
        message.results.number = self._number
        self._sent[self._number] = message
        return message

    def acknowledge(self, number: int, exceptions: Collection[ResultException]) -> None:
        """Forget the results of one message; each refused result is added again as a failure."""
        message = self._sent.pop(number, None)
        if message is None:
            return
        self._unacknowledged -= len(message.results.results)
        if exceptions or self._corrected:
            results = {result.lease_token: result for result in message.results.results}
            corrected = self._corrected.intersection(results)
            for exception in exceptions:
                if exception.code in _REFUSALS and exception.lease_token in results:
                    self._refuse(exception, results[exception.lease_token])
            self._corrected -= corrected

    def resend(self) -> None:
        """Queue again, under new numbers, the messages that were sent on a broken stream."""
        self._ready.extendleft(reversed(self._sent.values()))
        self._sent.clear()
        self._number = 0

    def tokens(self) -> list[str]:
        """Return the lease tokens of all unacknowledged results."""
        return [result.lease_token for result in self._results()]

    def _results(self) -> Iterator[Result]:
        for message in (*self._sent.values(), *self._ready, self._open):
            yield from message.results.results

    def _add(self, token: str) -> Result:
        if self._open_count >= RESULTS_PER_MESSAGE or self._open_text > _TEXT_PER_MESSAGE:
            self._ready.append(self._open)
            self._open = StreamJobsRequest()
            self._open_count = self._open_text = 0
        if not self._open_count:
            self._wake.set()
        self._open_count += 1
        self._unacknowledged += 1
        result = self._open.results.results.add()
        result.lease_token = token
        return result

    @staticmethod
    def _fill_failure(result: Result, failure: JobFailed) -> None:
        # Protobuf cannot hold lone surrogates, which the names of undecodable files contain.
        text = failure.message[:_ERROR_TEXT_LIMIT].encode("utf-8", "replace").decode()
        result.fail.error_message = text if text.strip() else "The handler gave no reason."
        if not failure.retryable:
            result.fail.retryable = False
        if failure.retry_delay is not None:
            result.fail.retry_delay.FromMicroseconds(round(failure.retry_delay * 1_000_000))

    def _refuse(self, exception: ResultException, result: Result) -> None:
        token = exception.lease_token
        if token not in self._corrected:
            self.refused.add(exception, result)
        if exception.code != ResultCode.RESULT_CODE_INVALID:
            _logger.warning("The result of %s came too late: %s", _job(exception), exception.message)
        elif result.HasField("complete"):
            _logger.warning(
                "The result of %s was refused, and its attempt fails: %s", _job(exception), exception.message
            )
            self._corrected.add(token)
            self.fail(token, JobFailed(f"The worker's result was refused: {exception.message}"))
        else:
            why = "The report on %s was refused and is dropped; its lease will run out: %s"
            _logger.error(why, _job(exception), exception.message)


def _job(exception: ResultException) -> str:
    # A server of before does not name the job.
    return f"job {exception.job_id}" if exception.job_id else f"the lease {exception.lease_token}"
