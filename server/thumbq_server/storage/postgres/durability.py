"""Whether PostgreSQL can lose commits that it has acknowledged, as far as its settings tell.

They change while a server runs: Patroni writes synchronous_standby_names
(docs/decisions/0029-a-warning-for-lost-commits.md).
"""

from typing import Any

import structlog

from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.statements import Statement

log = structlog.get_logger()

# Backups, archives and logical subscribers follow as well, and are never promoted. To a role without pg_monitor
# their names and states are hidden.
LOOK = Statement(
    "durability_look",
    "",
    """
    SELECT current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS synchronous_commit,
           current_setting('synchronous_standby_names') AS standby_names,
           EXISTS (SELECT FROM pg_stat_replication AS follower
                    WHERE state IS DISTINCT FROM 'backup' AND application_name IS DISTINCT FROM 'pg_receivewal'
                      AND NOT EXISTS (SELECT FROM pg_replication_slots
                                       WHERE slot_type = 'logical' AND active_pid = follower.pid)) AS has_standbys
    """,
)

_ONE_MACHINE = {
    ("fsync", "off"): "fsync is off, so a crash of PostgreSQL's machine may lose jobs that were acknowledged: set it"
    " to on.",
    ("synchronous_commit", "off"): "synchronous_commit is off, so a crash of PostgreSQL may lose jobs that were"
    " acknowledged: set it to on.",
}
_SEVERAL = {
    ("standby_names", ""): "synchronous_standby_names is empty, so a standby that takes over may lack jobs that were"
    " acknowledged: name the standbys there, or turn on synchronous_mode and synchronous_mode_strict of Patroni.",
    ("synchronous_commit", "local"): "synchronous_commit is local, so a standby that takes over may lack jobs that"
    " were acknowledged: set it to on.",
    ("synchronous_commit", "remote_write"): "synchronous_commit is remote_write, so a standby whose machine crashes"
    " together with the primary may lack jobs that were acknowledged: set it to on.",
}


class Durability:
    """Looks whether a commit may get lost, and logs when that changes."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # One sentence with the way out, while acknowledged jobs may get lost.
        self.risk: str | None = None

    async def __call__(self) -> int:
        """Look. Return 0, since nothing is changed. Raises Unavailable."""
        [found] = await self._database.fetch(LOOK)
        risk = _risk(found, self._database.has_other_hosts or found["has_standbys"])
        if risk != self.risk:
            self.risk = risk
            if risk:
                log.warning("commits.at_risk", why=risk)
            else:
                log.info("commits.safe")
        return 0


def _risk(found: Any, may_fail_over: bool) -> str | None:
    sentences = _ONE_MACHINE | _SEVERAL if may_fail_over else _ONE_MACHINE
    return next((sentence for (name, value), sentence in sentences.items() if found[name].strip() == value), None)
