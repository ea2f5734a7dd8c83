"""Measurements for metrics, made again and again."""

import math
from functools import partial
from pathlib import Path

from thumbq_runtime.files.folders import free_bytes
from thumbq_runtime.files.threads import FileThreads, Stalled
from thumbq_server.metrics.observer import Observer
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.reads.condition import read_condition
from thumbq_server.storage.reads.statistics import read_depth, read_durations

_DISK_TIMEOUT = 2.0  # seconds


class Measure:
    """Tells the observer how the queue and its database are."""

    def __init__(self, database: Database, observer: Observer) -> None:
        self._database = database
        self._observer = observer

    async def __call__(self) -> int:
        """Return 0: a measurement is not worth a line in the log."""
        try:
            condition = await read_condition(self._database)
        except Exception:
            self._observer.condition_unknown()
            self._observer.queue_unknown()
            raise
        # By itself: it reads no table of the queue, so it tells of a lock for which what follows may have to wait.
        self._observer.condition(condition)
        try:
            depth = await read_depth(self._database)
            durations = await read_durations(self._database)
        except Exception:
            self._observer.queue_unknown()
            raise
        self._observer.queue(depth, durations)
        return 0


class MeasureDisk:
    """Tells the observer how much room the disk of the database has, also while the database is away."""

    def __init__(self, folder: Path, observer: Observer) -> None:
        self._folder = folder
        self._observer = observer
        self._threads = FileThreads(timeout=_DISK_TIMEOUT)

    async def __call__(self) -> int:
        """Return 0, as above."""
        try:
            free = await self._threads.run("disk", partial(free_bytes, self._folder))
        except Stalled:
            free = math.nan
        self._observer.disk(free)
        return 0
