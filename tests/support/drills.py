"""Runs of a drill as a program of its own, whose output a failure shows."""

import signal
import subprocess
import sys

import pytest

from tests.support.programs import PROJECT
from thumbq_launcher.child import ending_with_parent


def holds(name: str, seed: int, capfd: pytest.CaptureFixture[str], *options: str) -> None:
    """Run `python -m tests.system.NAME` with this seed, and fail unless every guarantee held."""
    command = [sys.executable, "-m", f"tests.system.{name}", f"--seed={seed}", *options]
    with subprocess.Popen(
        ending_with_parent(command, signal.SIGTERM), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=PROJECT
    ) as run:
        try:
            output = run.communicate()[0].decode()
        finally:
            run.terminate()  # the run then ends all its processes
    with capfd.disabled():
        sys.stderr.write(f"\n{name}, seed {seed}: {'held' if run.returncode == 0 else 'FAILED'}\n")
    assert run.returncode == 0, f"\n{output}"
