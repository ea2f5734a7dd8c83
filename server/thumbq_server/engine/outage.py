"""Say once that PostgreSQL is away, and once that it is back."""

import structlog

from thumbq_server.storage.postgres.errors import Unavailable

log = structlog.get_logger()


class Outage:
    """What one duty knows of PostgreSQL. `who` is for the log."""

    def __init__(self, who: str) -> None:
        self._who = who
        self.going_on = False

    def began(self, error: Unavailable) -> None:
        """PostgreSQL did not answer."""
        if not self.going_on:
            self.going_on = True
            log.warning("postgres.away", who=self._who, error=str(error))

    def ended(self) -> None:
        """PostgreSQL answered."""
        if self.going_on:
            self.going_on = False
            log.info("postgres.back", who=self._who)
