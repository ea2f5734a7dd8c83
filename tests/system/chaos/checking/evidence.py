"""The evidence of a run: PostgreSQL's history beside the journals of all clients."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.system.chaos.actors.journal import ACCEPTED, Entry, read_journal
from tests.system.chaos.checking.history import History


@dataclass(frozen=True)
class Report:
    """A report as its worker saw it: the verb, the lease, and the answer."""

    at: float
    worker: str
    token: str
    verb: str
    # FENCED or LEGACY.
    mode: str
    # ACCEPTED, or the code of the refusal.
    answer: str

    @property
    def job_id(self) -> int:
        return int(self.token.partition("-")[0])

    def __str__(self) -> str:
        return f"the {self.verb} of {self.worker} under lease {self.token} ({self.mode})"


class Evidence:
    """The history in PostgreSQL, and the journals.

    `turns` are the times in which another primary took over: a token from before is stale after.
    """

    def __init__(self, history: History, journals: Path, turns: Sequence[tuple[float, float]] = ()) -> None:
        self.history = history
        self.turns = turns
        self.journals: dict[str, list[Entry]] = {
            path.stem: list(read_journal(path)) for path in journals.glob("*.jsonl")
        }
        self.reports: list[Report] = []
        # By lease: the workers that began to work, and the workers and outcomes that were reported.
        self.starts: dict[str, list[str]] = defaultdict(list)
        self.results: dict[str, list[tuple[str, str]]] = defaultdict(list)
        # Acknowledged requests: (model, hash), job id, outcome.
        self.enqueued: list[tuple[tuple[int, str], int, str]] = []
        self.surprises: list[str] = []
        for client, entries in self.journals.items():
            for entry in entries:
                self._take(client, *entry)
        self.reports.sort(key=lambda report: report.at)

    def _take(self, client: str, at: float, what: str, *details: Any) -> None:
        match what:
            case "start":
                self.starts[details[0]].append(client)
            case "result":
                self.results[details[0]].append((client, details[1]))
            case "accepted":
                self.reports.append(Report(at, client, *[*details, ACCEPTED]))
            case "refused":
                self.reports.append(Report(at, client, *details))
            case "enqueued":
                self.enqueued += [((model, digest), job, outcome) for model, digest, job, outcome in details[0]]
            case "surprise":
                self.surprises.append(f"{client} got an unexpected answer: {' '.join(map(str, details))}")

    def story(self, job_id: int) -> str:
        """Return all entries about a job, in the order of time."""
        lines = [(step.at, str(step)) for step in self.history.of_job[job_id]]
        prefix = f"{job_id}-"
        for client, entries in self.journals.items():
            for at, what, *details in entries:
                if details and isinstance(details[0], str) and details[0].startswith(prefix):
                    lines.append((at, f"{at:.3f}  {client}: {what} {' '.join(map(str, details))}"))
                elif what == "event" and details[2] == job_id:
                    lines.append((at, f"{at:.3f}  {client}: saw seq={details[0]} {details[3]}"))
        return "\n".join(line for _, line in sorted(lines))
