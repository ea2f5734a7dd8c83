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
        failure = plain_failure(outcome)
        _logger.info("Job %d (model %d) failed: %s", job.id, job.model_id, failure.message, extra=about)
        return failure
    if isinstance(outcome, BaseException):
        text = text_of(outcome)
        _logger.warning("Job %d (model %d) failed: %s", job.id, job.model_id, text, exc_info=outcome, extra=about)
        return JobFailed(text)
    text = f"TypeError: the handler returned {type(outcome).__name__}, not a Thumbnail"
    _logger.error("Job %d (model %d) failed: %s", job.id, job.model_id, text, extra=about)
    return JobFailed(text)


def plain_failure(failure: JobFailed) -> JobFailed:
    """Return the same failure without a program's own class, which may lack an attribute or hold anything in it."""
    try:
        message = getattr(failure, "message", None)
        return JobFailed(
            text_of(failure) if message is None else message,
            bool(getattr(failure, "retryable", True)),
            getattr(failure, "retry_delay", None),
        )
    except BaseException:  # noqa: BLE001 - the code is the program's
        return JobFailed(text_of(failure))


def text_of(error: BaseException) -> str:
    """Return the class of an exception, and its text when it has one that can be read."""
    name = type(error).__name__
    try:
        text = str(error)
    except BaseException as problem:  # noqa: BLE001 - the code is the program's
        return f"{name}, whose text cannot be read: it raises {type(problem).__name__}"
    return f"{name}: {text}" if text else name
