"""What one server has committed and others should look at: told to this server at once, to the others soon after."""

import asyncio
from collections.abc import Callable, Mapping
from types import MappingProxyType

# Payloads on the channel of NOTIFY. All are hints; the sweep every second is the truth.
JOBS, LOG, KEYS = "jobs", "log", "keys"


class Hints:
    """Gathers hints while they wait to be sent. A hint for jobs includes one for the log."""

    def __init__(self) -> None:
        self._untold: set[str] = set()
        self._there_are_some = asyncio.Event()
        self._wake: Mapping[str, Callable[[], None]] = MappingProxyType({})

    def wake_here(self, wake: Mapping[str, Callable[[], None]]) -> None:
        """Call `wake[hint]` for each hint from now on."""
        self._wake = wake

    def tell(self, hint: str) -> None:
        """Tell of a commit: JOBS when jobs may be due, LOG when the log has grown, KEYS when keys have changed."""
        self._untold.add(hint)
        self._there_are_some.set()
        if (call := self._wake.get(hint)) is not None:
            call()

    async def untold(self) -> list[str]:
        """Wait for hints, and take them out."""
        await self._there_are_some.wait()
        self._there_are_some.clear()
        hints, self._untold = self._untold, set()
        return sorted(hints - {LOG} if JOBS in hints else hints)
