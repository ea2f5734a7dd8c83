"""What every client of the run writes down as it happens, one JSON array a line: [time, what, ...].

Times are those of the wall clock, the same for all processes and for PostgreSQL. A line is one write, so it is there
even when its writer is killed in the next moment.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Entry = list[Any]

# The words for "this client was served": a result was accepted, an event was delivered.
ACCEPTED, DELIVERED = "accepted", "event"


class Pen:
    """Writes the journal of one client; a client that was started again goes on in the same file."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def write(self, what: str, *details: object) -> None:
        os.write(self._file, json.dumps([round(time.time(), 4), what, *details]).encode() + b"\n")


def journal_path(folder: Path, client: str) -> Path:
    return folder / f"{client}.jsonl"


def read_journal(path: Path) -> Iterator[Entry]:
    """The entries of one client, in the order in which it wrote them."""
    if path.exists():
        with path.open("rb") as lines:
            for line in lines:
                if line.endswith(b"\n"):
                    yield json.loads(line)


class Follower:
    """Reads the journals while they are being written, and knows when each client was served."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._offsets: dict[Path, int] = {}
        self._served: dict[str, list[float]] = {}
        self._cursors: dict[str, int] = {}

    def catch_up(self) -> None:
        for path in self._folder.glob("*.jsonl"):
            with path.open("rb") as file:
                file.seek(self._offsets.get(path, 0))
                whole, newline, _ = file.read().rpartition(b"\n")
            self._offsets[path] = self._offsets.get(path, 0) + len(whole) + len(newline)
            for line in whole.splitlines():
                self._take(path.stem, json.loads(line))

    def served(self, client: str) -> list[float]:
        """When the client was served, so far."""
        return self._served.get(client, [])

    def last_served(self, client: str) -> float:
        return self._served[client][-1] if client in self._served else 0.0

    def cursor(self, client: str) -> int:
        """Up to where a subscriber has come in the log."""
        return self._cursors.get(client, 0)

    def _take(self, client: str, entry: Entry) -> None:
        if entry[1] in {ACCEPTED, DELIVERED}:
            self._served.setdefault(client, []).append(entry[0])
        if entry[1] in {DELIVERED, "cursor"}:
            self._cursors[client] = int(entry[2])


def say(text: str) -> None:
    """Tell whoever watches the run."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
