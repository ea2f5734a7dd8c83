"""The meter of a worker process: how many jobs it has handled, when it began, and how long each job waited.

The file holds a count (uint64) and the time of the first job (float64, CLOCK_MONOTONIC, the same for all processes).
`<file>.waits` holds a float64 for each job that carried the time of its enqueue call: the milliseconds since then.
"""

import mmap
import os
import struct
import time
from array import array
from pathlib import Path

_SIZE = 16


class Meter:
    """The worker's side. The bench makes the files, one worker writes them."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), _SIZE)
        self._waits = os.open(f"{path}.waits", os.O_WRONLY | os.O_APPEND)
        self._count = 0

    def count(self, called_ns: int) -> None:
        """Count a job, first thing in a handler. `called_ns`: the time of the enqueue call, 0 if not measured."""
        if not self._count:
            struct.pack_into("<d", self._memory, 8, time.monotonic())
        self._count += 1
        struct.pack_into("<Q", self._memory, 0, self._count)
        if called_ns:
            os.write(self._waits, struct.pack("<d", (time.monotonic_ns() - called_ns) / 1e6))


class Reading:
    """The bench's side: reads what one worker writes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._waits = Path(f"{path}.waits")
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), _SIZE)

    @classmethod
    def of_new(cls, path: Path) -> "Reading":
        """Make the files for a worker that is about to start, and open them."""
        path.write_bytes(bytes(_SIZE))
        Path(f"{path}.waits").write_bytes(b"")
        return cls(path)

    @property
    def handled(self) -> int:
        """Number of jobs so far."""
        return int(struct.unpack_from("<Q", self._memory, 0)[0])

    @property
    def first(self) -> float:
        """Time of the first job; 0 before it."""
        return float(struct.unpack_from("<d", self._memory, 8)[0])

    def waits(self) -> list[float]:
        """Return the milliseconds from each enqueue call to its handler."""
        return list(array("d", self._waits.read_bytes()))
