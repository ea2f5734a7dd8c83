"""The lab: what every part of the bench receives to measure with."""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from bench.reporting.results import Entrant, Part, Results, take_turns
from bench.running.cluster import Cluster
from bench.session import Session, session
from bench.subjects.contenders import Contender


@dataclass(frozen=True)
class Lab:
    """A PostgreSQL, a folder for logs, and the number of runs and jobs."""

    cluster: Cluster
    logs: Path
    results: Results
    runs: int
    # Factor on the number of jobs.
    scale: float
    # Measure only what the headline ratios need.
    brief: bool
    # Peers that could not be installed, each with the reason.
    missing: dict[str, str]

    def jobs(self, count: int, contender: Contender | None = None) -> int:
        """Return the number of jobs to use, in whole batches."""
        slowness = contender.slowness if contender else 1
        return max(1_000, round(count * self.scale / slowness / 1_000) * 1_000) + 1_000

    def session(self, contender: Contender) -> AbstractAsyncContextManager[Session]:
        """Start this contender on an empty database."""
        return session(contender, self.cluster, self.logs)

    async def compare(self, part: Part, entrants: list[Entrant]) -> None:
        """Measure the entrants in turns."""
        for entrant in entrants:
            if entrant.name in self.missing:
                self.results.fail(part, entrant.row, self.missing[entrant.name])
        present = [entrant for entrant in entrants if entrant.name not in self.missing]
        await take_turns(self.results, part, present, self.runs)
