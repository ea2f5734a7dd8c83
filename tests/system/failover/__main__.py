"""Let one primary of PostgreSQL after another fail under load, and check every guarantee.

`python -m tests.system.failover --cycles 50 --seed 7` as root: the hosts are network namespaces under Patroni.
With `--by-hand` they are processes, each standby is promoted by hand, and three primaries fail: one is killed, one
stopped, one cut off.
"""

import argparse
import asyncio
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import uvloop

from tests.system.chaos.actors.journal import say
from tests.system.failover.by_hand.row import Row
from tests.system.failover.drill import Drill
from tests.system.failover.hosts import Hosts
from tests.system.failover.patroni import rack
from tests.system.failover.patroni.cluster import Cluster
from tests.system.failover.patroni.host import PATRONI
from tests.system.failover.report import report

_PROBLEMS_SHOWN = 20
_INSIDE = "FAILOVER_DRILL_NAMESPACE"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.system.failover", description=__doc__)
    parser.add_argument("--cycles", type=int, default=5, help="number of primaries that fail, up to a minute each")
    parser.add_argument("--minutes", type=float, default=math.inf, help="time after which no further primary fails")
    parser.add_argument("--seed", type=int, help="seed of the faults; the default is random, and printed")
    parser.add_argument("--rate", type=float, default=40, help="jobs a second to enqueue")
    parser.add_argument("--by-hand", action="store_true", help="no Patroni and no namespaces: three primaries fail")
    parser.add_argument("--folder", type=Path, help="folder for logs and journals; it is kept")
    chosen = parser.parse_args()
    if chosen.cycles < 1:
        parser.error("a run has one cycle or more")
    if _INSIDE not in os.environ and not chosen.by_hand:
        return _enter_namespace()
    seed = random.randrange(1_000_000) if chosen.seed is None else chosen.seed
    folder = chosen.folder or Path(tempfile.mkdtemp(prefix="thumbq-failover-"))
    if chosen.by_hand:
        hosts: Hosts[Any] = Row(folder)
        cycles = len(Row.faults)
    else:
        rack.build()
        hosts, cycles = Cluster(folder), chosen.cycles
    say(f"seed {seed}, {cycles} cycles; logs and journals in {folder}")
    drill = Drill(hosts, folder, cycles, seed, chosen.rate, 60 * chosen.minutes)
    try:
        uvloop.run(_go(drill))
    except (asyncio.CancelledError, KeyboardInterrupt):
        say("ended by a signal")
        return 130
    say(report(drill))
    for problem in drill.problems[:_PROBLEMS_SHOWN]:
        say(f"PROBLEM  {problem}")
    if drill.problems:
        say(f"FAILED with seed {seed}: {len(drill.problems)} problems; everything is kept in {folder}")
    elif not chosen.folder:
        shutil.rmtree(folder)
    return 1 if drill.problems else 0


async def _go(drill: Drill[Any]) -> None:
    """Run, and end in order on SIGTERM as well."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await drill.go()


def _enter_namespace() -> int:
    """Run this program again in a network of its own."""
    if not PATRONI.exists():
        sys.exit("Patroni is missing: run `make failover`, which installs it.")
    if os.geteuid() or subprocess.run(["unshare", "--net", "true"], check=False, capture_output=True).returncode:
        sys.exit("The drill needs root, and the right to make network namespaces.")
    command = ["unshare", "--net", "--", sys.executable, "-m", "tests.system.failover", *sys.argv[1:]]
    os.execvpe(command[0], command, {**os.environ, _INSIDE: "1"})


if __name__ == "__main__":
    sys.exit(main())
