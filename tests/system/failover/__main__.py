"""Let one primary of PostgreSQL after another fail under load, and check every guarantee.

`python -m tests.system.failover --cycles 50 --seed 7` as root: the hosts are network namespaces.
"""

import argparse
import asyncio
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import uvloop

from tests.system.chaos.actors.journal import say
from tests.system.failover import rack
from tests.system.failover.drill import Drill
from tests.system.failover.host import PATRONI
from tests.system.failover.report import report

_PROBLEMS_SHOWN = 20
_INSIDE = "FAILOVER_DRILL_NAMESPACE"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.system.failover", description=__doc__)
    parser.add_argument("--cycles", type=int, default=5, help="number of primaries that fail, up to a minute each")
    parser.add_argument("--seed", type=int, help="seed of the faults; the default is random, and printed")
    parser.add_argument("--rate", type=float, default=40, help="jobs a second to enqueue")
    parser.add_argument("--folder", type=Path, help="folder for logs and journals; it is kept")
    chosen = parser.parse_args()
    if chosen.cycles < 1:
        parser.error("a run has one cycle or more")
    if _INSIDE not in os.environ:
        return _enter_namespace()
    seed = random.randrange(1_000_000) if chosen.seed is None else chosen.seed
    folder = chosen.folder or Path(tempfile.mkdtemp(prefix="thumbq-failover-"))
    say(f"seed {seed}, {chosen.cycles} cycles; logs and journals in {folder}")
    rack.build()
    drill = Drill(folder, chosen.cycles, seed, chosen.rate)
    try:
        uvloop.run(drill.go())
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
