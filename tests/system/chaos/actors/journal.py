"""The journals: every client of a run records its events, one JSON array a line: [time, what, ...].

All processes and PostgreSQL share the wall clock of the times. A line is one write, so it survives when its writer is
killed in the next moment.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Entry = list[Any]

# The events that count as "this client was served": a result was accepted, an event was delivered.
ACCEPTED, DELIVERED = "accepted", "event"


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
    """Reads the journals while they are written, and keeps the times at which each client was served."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._offsets: dict[Path, int] = {}
        self._served: dict[str, list[float]] = {}
        self._cursors: dict[str, int] = {}
        self._resets: dict[str, float] = {}

    def catch_up(self) -> None:
        for path in self._folder.glob("*.jsonl"):
            with path.open("rb") as file:
                file.seek(self._offsets.get(path, 0))
                whole, newline, _ = file.read().rpartition(b"\n")
            self._offsets[path] = self._offsets.get(path, 0) + len(whole) + len(newline)
            for line in whole.splitlines():
                self._take(path.stem, json.loads(line))

    def served(self, client: str) -> list[float]:
        """Return the times at which the client was served so far."""
        return self._served.get(client, [])

    def last_served(self, client: str) -> float:
        return self._served[client][-1] if client in self._served else 0.0

    def cursor(self, client: str) -> int:
        """Return the last position of a subscriber in the log."""
        return self._cursors.get(client, 0)

    def was_reset(self, client: str, since: float) -> bool:
        """Return whether a subscriber was told of another history since then."""
        return self._resets.get(client, 0.0) > since

    def _take(self, client: str, entry: Entry) -> None:
        if entry[1] in {ACCEPTED, DELIVERED}:
            self._served.setdefault(client, []).append(entry[0])
        if entry[1] in {DELIVERED, "cursor", "reset"}:
            self._cursors[client] = int(entry[2])
        if entry[1] == "reset":
            self._resets[client] = entry[0]


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
