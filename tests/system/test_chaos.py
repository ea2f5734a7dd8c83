"""The chaos suite in short: with a seed whose faults hit everything once, and with any. `make chaos` runs for long."""

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from thumbq_launcher.child import ending_with_parent

PROJECT = Path(__file__).parents[2]
FIXED_SEED = 487774
CYCLES = 5
JOBS_A_SECOND = 100


@pytest.mark.timeout(240)
@pytest.mark.parametrize("seed", [FIXED_SEED, random.randrange(1_000_000)], ids=["fixed", "random"])
def test_every_guarantee_holds_whatever_is_killed(seed: int, capfd: pytest.CaptureFixture[str]) -> None:
    """What fails is told with the story of the job that it happened to, the seed, and where the logs are kept."""
    options = {"cycles": CYCLES, "seed": seed, "rate": JOBS_A_SECOND}
    command = [sys.executable, "-m", "tests.system.chaos", *(f"--{name}={value}" for name, value in options.items())]
    with subprocess.Popen(
        ending_with_parent(command, signal.SIGTERM), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=PROJECT
    ) as run:
        try:
            output = run.communicate()[0].decode()
        finally:
            run.terminate()  # it ends all that it started
    with capfd.disabled():
        sys.stderr.write(f"\nchaos, seed {seed}: {'held' if run.returncode == 0 else 'FAILED'}\n")
    assert run.returncode == 0, f"\n{output}"
