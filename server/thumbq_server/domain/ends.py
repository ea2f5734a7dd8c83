"""How many attempts of each session have ended, until that is written down. Synchronous, without I/O."""

from collections import Counter


class Ends:
    """Counts by the session that held the lease: `completed` with a picture, `failed` by a report or an expiry.

    The statements that end attempts add to it, and what writes it down takes what is there.
    """

    def __init__(self) -> None:
        self.completed: Counter[int] = Counter()
        self.failed: Counter[int] = Counter()

    def take(self) -> tuple[Counter[int], Counter[int]]:
        """Return what was counted since the last time: completed, failed."""
        taken = self.completed, self.failed
        self.completed, self.failed = Counter(), Counter()
        return taken
