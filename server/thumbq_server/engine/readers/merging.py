"""Two streams in one."""

import asyncio
from collections.abc import AsyncGenerator
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


async def merged(first: AsyncGenerator[A, None], second: AsyncGenerator[B, None]) -> AsyncGenerator[A | B, None]:
    """Yield what both yield, as it comes; begin with the first of `first`, and end when one of them ends."""
    ahead: asyncio.Task[A | None] = asyncio.ensure_future(_next(first))
    beside: asyncio.Task[B | None] | None = None
    try:
        await asyncio.wait([ahead])
        while True:
            if ahead.done():
                step = ahead.result()
                if step is None:
                    return
                yield step
                ahead = asyncio.ensure_future(_next(first))
            elif beside and beside.done():
                news = beside.result()
                if news is None:
                    return
                yield news
                beside = None
            beside = beside or asyncio.ensure_future(_next(second))
            await asyncio.wait([ahead, beside], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (ahead, beside):
            if task:
                task.cancel()
        await asyncio.gather(*(task for task in (ahead, beside) if task), return_exceptions=True)
        await first.aclose()
        await second.aclose()


async def _next(stream: AsyncGenerator[A, None]) -> A | None:
    return await anext(stream, None)
