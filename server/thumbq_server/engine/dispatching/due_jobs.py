"""Whether a claim may find jobs. Synchronous, without I/O."""

import time
from collections.abc import Callable


class DueJobs:
    """What a dispatcher knows of jobs that are due.

    Jobs are expected after each signal, and after a claim that found as many as it asked for. After one that came back
    short none are, until `poll` seconds have passed.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.expected = True
        # When the last claim ended.
        self._looked_at = 0.0

    def expect(self) -> None:
        """Note that a job may be due."""
        self.expected = True

    def ask(self, count: int) -> None:
        """Note that a claim for `count` jobs begins. Only signals that come from now on say that there are more."""
        self.expected = not count

    def found(self, count: int, asked: int) -> None:
        """Note how many jobs a claim has found, of those that it asked for."""
        self._looked_at = self._clock()
        self.expected |= count == asked

    def next_look(self, poll: float) -> float:
        """Return in how many seconds to look again without a signal."""
        return poll if self.expected else self._looked_at + poll - self._clock()

    def expect_after(self, poll: float) -> None:
        """Expect jobs when the last claim ended `poll` seconds ago or earlier: signals may get lost."""
        self.expected |= self._clock() >= self._looked_at + poll
