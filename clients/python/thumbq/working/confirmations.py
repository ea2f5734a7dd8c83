"""Decides when the jobs of a message have to be confirmed, because their results do not do so soon."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from thumbq.v1.job_pb2 import Job
from thumbq.working.ledger import Ledger

# Seconds for results to come first, and how much longer busy handlers may take to begin with a job.
_CONFIRM_AFTER = 0.001
_BEGIN_WITHIN = 0.02


class Confirmations:
    """Looks after the jobs of one stream. It looks at one message at a time: a look a message costs too much."""

    def __init__(self, ledger: Ledger, fall_due: Callable[[], None]) -> None:
        self._ledger = ledger
        self._fall_due = fall_due
        self._newest: Sequence[Job] = ()
        self._looking_at: Sequence[Job] | None = None

    def received(self, jobs: Sequence[Job]) -> None:
        """Note that a message with these jobs has come. Its confirmation also says that all before it came."""
        self._newest = jobs
        if self._looking_at is None:
            self._look_later(jobs)

    def _look_later(self, jobs: Sequence[Job]) -> None:
        self._looking_at = jobs
        asyncio.get_running_loop().call_later(_CONFIRM_AFTER, self._look, jobs)

    def _look(self, jobs: Sequence[Job]) -> None:
        """Look whether jobs are still held, and if so once more, when the handlers have begun.

        With many workers in the process, jobs wait for their turn at the handlers' loop. A confirmation of each would
        cost a message a job.
        """
        if self._are_held(jobs):
            self._ledger.when_begun(self._look_again, jobs)
            asyncio.get_running_loop().call_later(_BEGIN_WITHIN, self._look_again, jobs)
        else:
            self._look_again(jobs)

    def _look_again(self, jobs: Sequence[Job]) -> None:
        if self._looking_at is not jobs:
            return
        self._looking_at = None
        if self._are_held(jobs):
            self._fall_due()
        elif jobs is not self._newest:
            self._look_later(self._newest)

    def _are_held(self, jobs: Sequence[Job]) -> bool:
        return any(job.lease_token in self._ledger.held for job in jobs)
