"""What a worker process of any contender tells the bench: how many jobs it handled, since when, and how late.

The file holds a count (uint64) and the time of the first job (float64, CLOCK_MONOTONIC, the same for all processes);
`<file>.waits` holds a float64 for each job that carried the time of its enqueue call: milliseconds from there.
"""

import mmap
import os
import struct
import time
from array import array
from pathlib import Path

_SIZE = 16


class Meter:
    """The worker's side. Made by the bench, written by one worker."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), _SIZE)
        self._waits = os.open(f"{path}.waits", os.O_WRONLY | os.O_APPEND)
        self._count = 0

    def count(self, called_ns: int) -> None:
        """First thing in a handler; `called_ns` is when its job was enqueued, 0 where that is not measured."""
        if not self._count:
            struct.pack_into("<d", self._memory, 8, time.monotonic())
        self._count += 1
        struct.pack_into("<Q", self._memory, 0, self._count)
        if called_ns:
            os.write(self._waits, struct.pack("<d", (time.monotonic_ns() - called_ns) / 1e6))


class Reading:
    """The bench's side."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._waits = Path(f"{path}.waits")
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), _SIZE)

    @classmethod
    def of_new(cls, path: Path) -> "Reading":
        """Make the files for a worker that is about to start."""
        path.write_bytes(bytes(_SIZE))
        Path(f"{path}.waits").write_bytes(b"")
        return cls(path)

    @property
    def handled(self) -> int:
        """Jobs so far."""
        return int(struct.unpack_from("<Q", self._memory, 0)[0])

    @property
    def first(self) -> float:
        """When the first job was handled; 0 while there was none."""
        return float(struct.unpack_from("<d", self._memory, 8)[0])

    def waits(self) -> list[float]:
        """Milliseconds from each enqueue call to its handler."""
        return list(array("d", self._waits.read_bytes()))
