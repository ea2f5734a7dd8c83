"""Kill processes, cut connections, let hosts hang and clocks jump, and check every guarantee.

`python -m tests.system.chaos --cycles 20 --seed 7`
"""

import argparse
import asyncio
import random
import re
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import uvloop

from tests.system.chaos.actors.journal import say
from tests.system.chaos.clock import AVAILABLE
from tests.system.chaos.run import Outcome, Run
from tests.system.chaos.summary import summary

_PROBLEMS_SHOWN = 20
_STORIES_SHOWN = 3


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.system.chaos", description=__doc__)
    parser.add_argument("--cycles", type=int, default=20, help="number of cycles, about 4 s each, with a fault in each")
    parser.add_argument("--seed", type=int, help="seed of the faults; the default is random, and printed")
    parser.add_argument("--rate", type=float, default=150, help="jobs a second to enqueue")
    parser.add_argument("--folder", type=Path, help="folder for logs and journals; it is kept")
    chosen = parser.parse_args()
    if chosen.cycles < 1:
        parser.error("a run has one cycle or more")
    seed = random.randrange(1_000_000) if chosen.seed is None else chosen.seed
    folder = chosen.folder or Path(tempfile.mkdtemp(prefix="thumbq-chaos-"))
    say(f"seed {seed}, {chosen.cycles} cycles; logs and journals in {folder}")
    if not AVAILABLE:
        say("clocks do not jump in this run: Debian's package faketime is not installed")
    try:
        outcome = uvloop.run(_go(Run(folder, chosen.cycles, seed, chosen.rate)))
    except (asyncio.CancelledError, KeyboardInterrupt):
        say("ended by a signal")
        return 130
    _print(outcome, folder)
    if outcome.problems:
        say(f"FAILED with seed {seed}: everything is kept in {folder}")
    elif not chosen.folder:
        shutil.rmtree(folder)
    return 1 if outcome.problems else 0


async def _go(run: Run) -> Outcome:
    """Run, and end in order on SIGTERM as well."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await run.go()


def _print(outcome: Outcome, folder: Path) -> None:
    evidence = outcome.evidence
    if evidence is not None:
        say(f"\n{'cycles':32} {outcome.cycles:9,}\n{summary(outcome.strikes, evidence)}\n")
    for problem in outcome.problems[:_PROBLEMS_SHOWN]:
        say(f"PROBLEM  {problem}")
    if len(outcome.problems) > _PROBLEMS_SHOWN:
        say(f"... and {len(outcome.problems) - _PROBLEMS_SHOWN} more problems")
    if evidence is not None:
        named = dict.fromkeys(
            int(job) for problem in outcome.problems for job in re.findall(r"\bjob'?:? (\d+)", problem)
        )
        for job_id in list(named)[:_STORIES_SHOWN]:
            say(f"\nThe story of job {job_id}:\n{evidence.story(job_id)}")


if __name__ == "__main__":
    sys.exit(main())
