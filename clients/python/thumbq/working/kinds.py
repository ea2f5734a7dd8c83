"""A handler for each kind of job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from thumbq.outcome import Thumbnail
from thumbq.v1.job_pb2 import Job
from thumbq.working.handler import AsyncHandler, BlockingHandler, Handler, is_async
from thumbq.working.threads import Threads


class HandlerOfKinds:
    """An async handler that passes each job to the handler of its kind."""

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self._handlers: dict[str, AsyncHandler] = {kind: _as_async(handler) for kind, handler in handlers.items()}

    async def __call__(self, job: Job) -> Thumbnail:
        """Run the handler of the job's kind."""
        return await self._handlers[job.asset_type](job)


class BlockingHandlerOfKinds:
    """The same for processes, each of which gets a copy of it."""

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self._handlers = dict(handlers)

    def __call__(self, job: Job) -> Any:
        """Run the handler of the job's kind."""
        return self._handlers[job.asset_type](job)


def check_handlers(handlers: Mapping[str, Handler]) -> None:
    """Raise TypeError or ValueError unless there is a function for each kind."""
    if not handlers:
        raise ValueError("the worker needs a handler of at least one kind")
    for kind, handler in handlers.items():
        if not callable(handler):
            raise TypeError(f"the handler of {kind} must be a function of a Job, not {type(handler).__name__}")


def _as_async(handler: Handler) -> AsyncHandler:
    return handler if is_async(handler) else Threads(cast("BlockingHandler", handler))
