"""Log that PostgreSQL is away without repeating it."""

import time

import structlog

from thumbq_server.storage.postgres.errors import Unavailable

# Unavailable too: rpc meets it here, and not in storage.
__all__ = ["Outage", "RateLimitedLog", "Unavailable"]

log = structlog.get_logger()


class Outage:
    """Logs once that PostgreSQL is away, and once that it is back, as one duty sees it. `who` is for the log."""

    def __init__(self, who: str) -> None:
        self._who = who
        self.going_on = False

    def began(self, error: Unavailable) -> None:
        """Note that PostgreSQL did not answer."""
        if not self.going_on:
            self.going_on = True
            log.warning("postgres.away", who=self._who, error=str(error))

    def ended(self) -> None:
        """Note that PostgreSQL answered."""
        if self.going_on:
            self.going_on = False
            log.info("postgres.back", who=self._who)


class RateLimitedLog:
    """A warning that is written at most once in `every` seconds: in an outage all calls have the same to report."""

    def __init__(self, event: str, every: float = 10.0) -> None:
        self._event = event
        self._every = every
        self._last = -every

    def warning(self, error: Unavailable) -> None:
        """Log `error`, unless that was done a moment ago."""
        now = time.monotonic()
        if now - self._last >= self._every:
            self._last = now
            log.warning(self._event, error=str(error))
