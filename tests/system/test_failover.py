"""A short failover drill: three primaries in turn fail under load. See `make failover` for one under Patroni."""

import random

import pytest

from tests.support.drills import holds

JOBS_A_SECOND = 40


@pytest.mark.timeout(600)
def test_every_guarantee_holds_when_primaries_are_killed_stopped_and_partitioned(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The seed orders the faults. A failure is printed with it, the steps of each recovery, and where the logs are."""
    holds("failover", random.randrange(1_000_000), capfd, "--by-hand", f"--rate={JOBS_A_SECOND}")
