"""Two ways to wake tasks: one task that also polls, or all tasks that wait at present."""

import asyncio
import contextlib


class WakeUp:
    """Wakes one task when something happened, or after `poll` seconds: the poll finds what no signal told of."""

    def __init__(self, poll: float) -> None:
        self.poll = poll
        self._event = asyncio.Event()

    @property
    def pending(self) -> bool:
        """Whether a signal waits to be taken in."""
        return self._event.is_set()

    def set(self) -> None:
        """Signal that something happened."""
        self._event.set()

    async def wait(self, seconds: float | None = None) -> bool:
        """Wait, and take the signal in. Return False when the poll was due instead, in `seconds` if that is given."""
        with contextlib.suppress(TimeoutError):
            # Not wait_for: before Python 3.12 it loses a cancellation that arrives together with the event.
            async with asyncio.timeout(self.poll if seconds is None else seconds):
                await self._event.wait()
        signalled = self._event.is_set()
        self._event.clear()
        return signalled


class Broadcast:
    """Wakes every task that waits at present; a task that comes later waits for the next announcement."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def upcoming(self) -> asyncio.Event:
        """Return the event that the next announcement sets. Ask for it before looking, and wait for it afterwards."""
        return self._event

    def announce(self) -> None:
        """Wake all that wait."""
        self._event.set()
        self._event = asyncio.Event()
