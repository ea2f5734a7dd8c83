"""A handler: how it runs within the task of its slot, and what its exceptions mean for the job."""

from __future__ import annotations

import inspect
import logging
import types
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from typing import Any, TypeGuard

from thumbq.log_events import event
from thumbq.outcome import JobFailed, Thumbnail
from thumbq.v1.job_pb2 import Job

_logger = logging.getLogger("thumbq")

AsyncHandler = Callable[[Job], Coroutine[Any, Any, Thumbnail]]
BlockingHandler = Callable[[Job], Thumbnail]
# An async function, or one that blocks.
Handler = AsyncHandler | BlockingHandler


def is_async(handler: Handler) -> TypeGuard[AsyncHandler]:
    """Return whether a handler is an async function, or an object that is called like one."""
    function = inspect.unwrap(handler)
    call = getattr(function, "__call__", None)  # noqa: B004 - whether the call is async, not whether there is one
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)


@types.coroutine
def run_to_its_end(
    context: Context, coroutine: Coroutine[Any, Any, Thumbnail], awaited: object
) -> Generator[object, object, Thumbnail]:
    """Run the rest of a handler, in its context, as part of the current task."""
    try:
        while True:
            try:
                value = yield awaited
            except BaseException as error:  # noqa: BLE001 - the handler receives it
                awaited = context.run(coroutine.throw, error)
            else:
                awaited = context.run(coroutine.send, value)
    except StopIteration as returned:
        result: Thumbnail = returned.value
        return result


def as_failure(job: Job, outcome: object) -> JobFailed:
    """Return the failure that a handler's exception, or a result of a wrong type, stands for; log it."""
    about = event("job.failed", job)
    if isinstance(outcome, JobFailed):
        _logger.info("Job %d (model %d) failed: %s", job.id, job.model_id, outcome.message, extra=about)
        return outcome
    if isinstance(outcome, BaseException):
        text = f"{type(outcome).__name__}: {outcome}" if str(outcome) else type(outcome).__name__
        _logger.warning("Job %d (model %d) failed: %s", job.id, job.model_id, text, exc_info=outcome, extra=about)
        return JobFailed(text)
    text = f"TypeError: the handler returned {type(outcome).__name__}, not a Thumbnail"
    _logger.error("Job %d (model %d) failed: %s", job.id, job.model_id, text, extra=about)
    return JobFailed(text)
