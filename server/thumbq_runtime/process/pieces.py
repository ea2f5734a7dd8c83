"""Long work in pieces: each takes a few milliseconds, and others run in between."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import TypeVar

T = TypeVar("T")

PIECE = 1000


async def pieces(items: Sequence[T]) -> AsyncIterator[Sequence[T]]:
    """Yield up to PIECE items at a time, also when there are none; let other tasks run before each further piece."""
    for start in range(0, len(items) or 1, PIECE):
        if start:
            await asyncio.sleep(0)
        yield items[start : start + PIECE]
