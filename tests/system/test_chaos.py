"""Short runs of the chaos suite: one seed whose faults hit each part once, and a random one. See `make chaos`."""

import random

import pytest

from tests.support.drills import holds

FIXED_SEED = 2170
CYCLES = 5
JOBS_A_SECOND = 100


@pytest.mark.parametrize("seed", [FIXED_SEED, random.randrange(1_000_000)], ids=["fixed", "random"])
def test_every_guarantee_holds_whatever_is_killed(seed: int, capfd: pytest.CaptureFixture[str]) -> None:
    """A failure is printed with the history of its job, the seed, and the folder of the logs."""
    holds("chaos", seed, capfd, f"--cycles={CYCLES}", f"--rate={JOBS_A_SECOND}")
