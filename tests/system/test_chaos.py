"""Short runs of the chaos suite: one seed whose faults hit each part once, and a random one. See `make chaos`."""

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from thumbq_launcher.child import ending_with_parent

PROJECT = Path(__file__).parents[2]
FIXED_SEED = 2170
CYCLES = 5
JOBS_A_SECOND = 100


@pytest.mark.parametrize("seed", [FIXED_SEED, random.randrange(1_000_000)], ids=["fixed", "random"])
def test_every_guarantee_holds_whatever_is_killed(seed: int, capfd: pytest.CaptureFixture[str]) -> None:
    """A failure is printed with the history of its job, the seed, and the folder of the logs."""
    options = {"cycles": CYCLES, "seed": seed, "rate": JOBS_A_SECOND}
    command = [sys.executable, "-m", "tests.system.chaos", *(f"--{name}={value}" for name, value in options.items())]
    with subprocess.Popen(
        ending_with_parent(command, signal.SIGTERM), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=PROJECT
    ) as run:
        try:
            output = run.communicate()[0].decode()
        finally:
            run.terminate()  # the run then ends all its processes
    with capfd.disabled():
        sys.stderr.write(f"\nchaos, seed {seed}: {'held' if run.returncode == 0 else 'FAILED'}\n")
    assert run.returncode == 0, f"\n{output}"
