"""How late the event loop is."""

import asyncio
import time
from collections.abc import Callable

_EVERY_SECONDS = 0.5


async def watch_loop(observe: Callable[[float], None]) -> None:
    """Tell, twice a second, by how many seconds a timer came late; until cancelled."""
    while True:
        due = time.monotonic() + _EVERY_SECONDS
        await asyncio.sleep(_EVERY_SECONDS)
        observe(max(0.0, time.monotonic() - due))
