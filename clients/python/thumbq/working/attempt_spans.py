"""The spans of a worker: an attempt while its handler runs, and its result until the server has acknowledged it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from thumbq import spans
from thumbq.outcome import JobFailed, JobReleased, Thumbnail
from thumbq.v1.job_pb2 import Job
from thumbq.working.handler import plain_failure, text_of

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

    from thumbq.working.handler import AsyncHandler


class AttemptSpans:
    """Knows the attempts by their lease tokens. Jobs without a trace pass by."""

    def __init__(self, tracer: Tracer, worker_id: str) -> None:
        self._tracer = tracer
        self._worker_id = worker_id
        # By token: the span, and when it ended. The stream's thread reads it; both only take single steps.
        self._ended: dict[str, tuple[str, int]] = {}

    def around(self, handler: AsyncHandler) -> AsyncHandler:
        """Return a handler that makes a span of each attempt, within which the handler runs."""

        async def traced(job: Job) -> Thumbnail:
            if not job.traceparent:
                return await handler(job)
            attempt = spans.begin(
                self._tracer,
                "attempt",
                job.traceparent,
                kind="CONSUMER",
                link=job.earlier_attempt,
                job_id=job.id,
                model_id=job.model_id,
                attempt=job.attempt_count,
                worker_id=self._worker_id,
            )
            problem = ""
            try:
                with spans.current(attempt):
                    return await handler(job)
            except JobReleased:
                raise
            except JobFailed as failure:
                problem = plain_failure(failure).message
                raise
            except BaseException as error:
                problem = text_of(error)
                raise
            finally:
                now = time.time_ns()
                self._ended[job.lease_token] = (attempt.traceparent, now)
                attempt.end(problem, now)

        return traced

    def traceparent(self, token: str) -> str:
        """Return the span of an attempt that has ended, empty for none."""
        return self._ended[token][0] if token in self._ended else ""

    def acknowledged(self, tokens: Iterable[str], refused: Iterable[str]) -> None:
        """Note that the server has answered the results of these attempts, and refused some of them."""
        if not self._ended:
            return
        late = set(refused)
        for token in tokens:
            if found := self._ended.pop(token, None):
                result = spans.begin(self._tracer, "result", found[0], since=found[1])
                result.end("the server did not take it" if token in late else "")

    def lost(self, token: str) -> None:
        """Forget an attempt whose lease is lost: it has no result."""
        self._ended.pop(token, None)
