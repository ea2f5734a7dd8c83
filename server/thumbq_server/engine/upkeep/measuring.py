"""Measurements for metrics, made again and again."""

from thumbq_server.metrics.observer import Observer
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.reads.condition import read_condition
from thumbq_server.storage.reads.statistics import read_depth, read_durations


class Measure:
    """Tells the observer how the queue and its database are."""

    def __init__(self, database: Database, observer: Observer) -> None:
        self._database = database
        self._observer = observer

    async def __call__(self) -> int:
        """Return 0: a measurement is not worth a line in the log."""
        try:
            depth = await read_depth(self._database)
            durations = await read_durations(self._database)
            condition = await read_condition(self._database)
        except Exception:
            self._observer.not_measured()
            raise
        self._observer.measured(depth, durations, condition)
        return 0
