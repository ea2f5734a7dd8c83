"""The tasks that a program cannot do without."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import structlog

log = structlog.get_logger()


@asynccontextmanager
async def running(*duties: Coroutine[Any, Any, object], failure: str, broken: asyncio.Event) -> AsyncIterator[None]:
    """Run the duties for the length of the context, and wait for their end when it is left.

    None may end before. If one fails, returns or is cancelled by anything else, the event `failure` is logged and
    `broken` is set: the program then ends, and its parent starts another.
    """
    tasks = [asyncio.create_task(_guarded(duty, failure, broken)) for duty in duties]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for duty in duties:
            duty.close()  # one that never began, in a program that stopped at once, would warn that nobody awaited it


async def _guarded(duty: Coroutine[Any, Any, object], failure: str, broken: asyncio.Event) -> None:
    task = asyncio.current_task()
    assert task
    try:
        await duty
        reason = "it returned"
    except asyncio.CancelledError:
        reason = "it was cancelled"
    except Exception:
        broken.set()  # first: logging may fail, too
        log.exception(failure)
        return
    if not task.cancelling():
        broken.set()
        log.error(failure, duty=str(duty), reason=reason)
