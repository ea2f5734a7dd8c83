"""What one server has committed and others should look at: told to this server at once, to the others soon after."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType

# Payloads on the channel of NOTIFY. All are hints; the sweep every second is the truth.
JOBS, LOG, KEYS = "jobs", "log", "keys"
# A server tells of itself as `server/1 NAME`.
_GREETING = "server/1 "
_GREET_EVERY = 5.0  # seconds
# A server that has not greeted for this time is gone.
_GONE_AFTER = 3 * _GREET_EVERY


class Others:
    """The other servers of the database, as far as they have told of themselves.

    While this server does not listen, it takes them to be there.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.greeting = _GREETING + secrets.token_hex(8)
        self.is_listening = False
        # When each of them is gone, and the last one of them.
        self._gone_at: dict[str, float] = {}
        self._all_gone_at = 0.0

    def may_be_there(self) -> bool:
        """Return whether there is anybody to tell something."""
        return not self.is_listening or self._clock() < self._all_gone_at

    def hear(self, greeting: str) -> bool:
        """Take note of a greeting. Return whether it is that of a server that may not know of this one."""
        if greeting == self.greeting:
            return False
        now = self._clock()
        is_new = self._gone_at.get(greeting, 0.0) <= now
        self._all_gone_at = now + _GONE_AFTER
        self._gone_at = {name: gone_at for name, gone_at in self._gone_at.items() if gone_at > now}
        self._gone_at[greeting] = self._all_gone_at
        return is_new


class Hints:
    """Gathers hints while they wait to be sent. A hint for jobs includes one for the log."""

    def __init__(self) -> None:
        self.others = Others()
        self._greet_at = time.monotonic() + _GREET_EVERY
        self._untold: set[str] = set()
        self._there_are_some = asyncio.Event()
        self._wake: Mapping[str, Callable[[], None]] = MappingProxyType({})

    def wake_here(self, wake: Mapping[str, Callable[[], None]]) -> None:
        """Call `wake[hint]` for each hint from now on."""
        self._wake = wake

    def tell(self, hint: str) -> None:
        """Tell of a commit: JOBS when jobs may be due, LOG when the log has grown, KEYS when keys have changed."""
        # A server alone would send a statement after each commit, for nobody (decision 0076). A key that is revoked is
        # told of also where a server of an older version, which does not greet, may be there.
        if hint == KEYS or self.others.may_be_there():
            self._untold.add(hint)
            self._there_are_some.set()
        if (call := self._wake.get(hint)) is not None:
            call()

    def listens(self, is_listening: bool) -> None:
        """Note that this server hears the others from now on, or no longer. They get a greeting."""
        self.others.is_listening = is_listening
        if is_listening:
            self._greet()

    def hear(self, payload: str) -> bool:
        """Take in what a server has told. Return whether it was a greeting; a new server gets one back."""
        if not payload.startswith(_GREETING):
            return False
        if self.others.hear(payload):
            self._greet()
        return True

    async def untold(self) -> list[str]:
        """Wait for hints, or until this server has to tell of itself again, and take them out."""
        # A server that cannot listen has no use for hints, so it does not greet.
        seconds = self._greet_at - time.monotonic() if self.others.is_listening else None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._there_are_some.wait()
        if self.others.is_listening and time.monotonic() >= self._greet_at:
            self._greet()
        self._there_are_some.clear()
        hints, self._untold = self._untold, set()
        return sorted(hints - {LOG} if JOBS in hints else hints)

    def _greet(self) -> None:
        self._greet_at = time.monotonic() + _GREET_EVERY
        self._untold.add(self.others.greeting)
        self._there_are_some.set()
