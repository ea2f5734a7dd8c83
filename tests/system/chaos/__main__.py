"""Kill things, and look whether every guarantee held: `python -m tests.system.chaos --cycles 20 --seed 7`."""

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

from tests.system.chaos.journal import say
from tests.system.chaos.run import Outcome, Run
from tests.system.chaos.summary import summary

_PROBLEMS_SHOWN = 20
_STORIES_SHOWN = 3


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.system.chaos", description=__doc__)
    parser.add_argument("--cycles", type=int, default=20, help="how often to strike (about 4 s each)")
    parser.add_argument("--seed", type=int, help="what to strike, and how; one is drawn and printed when not given")
    parser.add_argument("--rate", type=float, default=150, help="jobs to ask for in a second")
    parser.add_argument("--folder", type=Path, help="where to write; kept")
    chosen = parser.parse_args()
    seed = random.randrange(1_000_000) if chosen.seed is None else chosen.seed
    folder = chosen.folder or Path(tempfile.mkdtemp(prefix="thumbq-chaos-"))
    say(f"seed {seed}, {chosen.cycles} cycles; logs and journals in {folder}")
    try:
        outcome = uvloop.run(_go(Run(folder, chosen.cycles, seed, chosen.rate)))
    except (asyncio.CancelledError, KeyboardInterrupt):
        say("ended by a signal")
        return 130
    _tell(outcome, folder)
    if outcome.problems:
        say(f"FAILED with seed {seed}: everything is kept in {folder}")
    elif not chosen.folder:
        shutil.rmtree(folder)
    return 1 if outcome.problems else 0


async def _go(run: Run) -> Outcome:
    """The run, ended in good order also by SIGTERM."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await run.go()


def _tell(outcome: Outcome, folder: Path) -> None:
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
