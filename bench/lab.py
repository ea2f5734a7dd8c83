"""What every part is given."""

import time
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from bench.cluster import Cluster
from bench.contenders import Contender
from bench.results import Entrant, Part, Results, take_turns
from bench.session import Session, session


@dataclass(frozen=True)
class Lab:
    """A PostgreSQL, a folder for logs, and how much of everything to do."""

    cluster: Cluster
    logs: Path
    results: Results
    runs: int
    # Of the full number of jobs.
    scale: float
    # Only what the headline ratios need.
    brief: bool
    # Peers that could not be installed, and why.
    missing: dict[str, str]
    # When patience ends, on the monotonic clock: from then on each entrant is measured once.
    hurry: float

    def jobs(self, count: int, contender: Contender | None = None) -> int:
        """The number of jobs to use, in whole batches."""
        slowness = contender.slowness if contender else 1
        return max(1_000, round(count * self.scale / slowness / 1_000) * 1_000) + 1_000

    def session(self, contender: Contender) -> AbstractAsyncContextManager[Session]:
        """An empty queue of this contender."""
        return session(contender, self.cluster, self.logs)

    async def compare(self, part: Part, entrants: list[Entrant]) -> None:
        """Measure all of them in turns."""
        for entrant in entrants:
            if entrant.name in self.missing:
                self.results.fail(part, entrant.row, self.missing[entrant.name])
        present = [entrant for entrant in entrants if entrant.name not in self.missing]
        runs = self.runs if time.monotonic() < self.hurry else 1
        await take_turns(self.results, part, present, runs)
