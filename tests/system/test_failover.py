"""A short failover drill: three primaries in turn fail under load. See `make failover` for one under Patroni."""

import os
import random
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.processes import descendants, wait_for_end
from tests.support.drills import holds
from tests.support.programs import PROJECT

JOBS_A_SECOND = 40
# A drill with one host, whose PostgreSQL is stopped.
_STOPPED = """
import asyncio, signal, sys
from pathlib import Path
from tests.support.programs import send_to_descendants
from tests.system.failover.by_hand.row import RowNode
host = RowNode(1, Path(sys.argv[1]))
asyncio.run(host.program.launch())
send_to_descendants(host.program.pid, signal.SIGSTOP)
print(host.program.pid, flush=True)
signal.pause()
"""


@pytest.mark.timeout(600)
def test_every_guarantee_holds_when_primaries_are_killed_stopped_and_partitioned(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The seed orders the faults. A failure is printed with it, the steps of each recovery, and where the logs are."""
    holds("failover", random.randrange(1_000_000), capfd, "--by-hand", f"--rate={JOBS_A_SECOND}")


def test_a_drill_that_is_killed_leaves_no_stopped_postgresql_behind(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _STOPPED, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=PROJECT) as drill:
        assert drill.stdout is not None
        host = int(drill.stdout.readline())
        processes = {host, *descendants(host)}
        drill.kill()
    try:
        wait_for_end(processes)
    finally:
        for process in processes:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
