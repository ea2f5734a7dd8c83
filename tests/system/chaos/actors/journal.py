"""The journals: every client of a run records its events, one JSON array a line: [time, what, ...].

All processes and PostgreSQL share the wall clock of the times. A line is one write, so it survives when its writer is
killed in the next moment.
"""

import json
import os
import sys
import time
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Entry = list[Any]

# The events that count as "this client was served": a result was accepted, an event was delivered.
ACCEPTED, DELIVERED = "accepted", "event"
# A producer was told that its jobs are there; a subscriber, that the log is another one.
ENQUEUED, RESET = "enqueued", "reset"


class Pen:
    """Writes the journal of one client. A restarted client appends to the same file."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def write(self, what: str, *details: object) -> None:
        os.write(self._file, json.dumps([round(time.time(), 4), what, *details]).encode() + b"\n")


def journal_path(folder: Path, client: str) -> Path:
    return folder / f"{client}.jsonl"


def read_journal(path: Path) -> Iterator[Entry]:
    """Yield the entries of one client, in the order of writing."""
    if path.exists():
        with path.open("rb") as lines:
            for line in lines:
                if line.endswith(b"\n"):
                    yield json.loads(line)


class Follower:
    """Reads the journals while they are written, and keeps the times of what happened to each client."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._offsets: dict[Path, int] = {}
        # By client and event.
        self._times: dict[tuple[str, str], list[float]] = defaultdict(list)
        self._served: dict[str, float] = {}
        self._cursors: dict[str, int] = {}
        # When the handler of a worker began with a job and ended, by client and lease.
        self._began: dict[tuple[str, str], float] = {}
        self._ended: dict[tuple[str, str], float] = {}
        # The lease of an accepted result, by client and time.
        self._accepted: dict[tuple[str, float], str] = {}

    def catch_up(self) -> None:
        for path in self._folder.glob("*.jsonl"):
            with path.open("rb") as file:
                file.seek(self._offsets.get(path, 0))
                whole, newline, _ = file.read().rpartition(b"\n")
            self._offsets[path] = self._offsets.get(path, 0) + len(whole) + len(newline)
            for line in whole.splitlines():
                self._take(path.stem, json.loads(line))

    def first(self, client: str, what: str, since: float) -> float | None:
        """Return when this happened to the client for the first time since then. None: it did not so far."""
        times = self._times[client, what]
        place = bisect_right(times, since)
        return times[place] if place < len(times) else None

    def first_result(self, worker: str, since: float) -> float | None:
        """Return when a result was accepted for the first time since then, less what the handler took of that time."""
        at = self.first(worker, ACCEPTED, since)
        if at is None:
            return None
        job = worker, self._accepted[worker, at]
        if job not in self._ended:  # a job that was given back unbegun, or whose handler was cancelled
            return at
        return at - max(0.0, self._ended[job] - max(since, self._began[job]))

    def last_served(self, client: str) -> float:
        return self._served.get(client, 0.0)

    def cursor(self, client: str) -> int:
        """Return the last position of a subscriber in the log."""
        return self._cursors.get(client, 0)

    def was_reset(self, client: str, since: float) -> bool:
        """Return whether a subscriber was told of another history since then."""
        return self.first(client, RESET, since) is not None

    def _take(self, client: str, entry: Entry) -> None:
        at, what = entry[:2]
        if what in {ACCEPTED, DELIVERED, ENQUEUED, RESET}:
            self._times[client, what].append(at)
        if what in {ACCEPTED, DELIVERED}:
            self._served[client] = at
        if what == "start":
            self._began[client, entry[2]] = at
            self._ended.pop((client, entry[2]), None)
        elif what == "result":
            # A worker over JSON may report a job twice.
            self._ended.setdefault((client, entry[2]), at)
        elif what == ACCEPTED:
            self._accepted.setdefault((client, at), entry[2])
        if what in {DELIVERED, "cursor", RESET}:
            self._cursors[client] = int(entry[2])


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
