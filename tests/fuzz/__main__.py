"""Send odd, broken and huge requests to a real service, and report what must not happen.

`python -m tests.fuzz --minutes 10 --seed 7`. The exit code is 1 when there are findings.
"""

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.case import Case
from tests.fuzz.run import Run
from tests.fuzz.service import MEBIBYTE, Service
from tests.system.chaos.actors.journal import say


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="the time of the run")
    parser.add_argument("--rounds", type=int, help="the number of rounds of 100 cases, instead of the time")
    parser.add_argument("--seed", type=int, help="seed of the cases; the default is random, and printed")
    parser.add_argument("--folder", type=Path, help="folder for logs and cases; it is kept")
    parser.add_argument("--replay", type=Path, help="play the case in this file alone")
    chosen = parser.parse_args()
    if not chosen.minutes > 0 or (chosen.rounds is not None and chosen.rounds < 1):
        parser.error("a run takes some minutes, or one round or more")
    seed = random.randrange(1_000_000) if chosen.seed is None else chosen.seed
    folder = chosen.folder or Path(tempfile.mkdtemp(prefix="thumbq-fuzz-"))
    folder.mkdir(parents=True, exist_ok=True)
    length = f"{chosen.minutes:g} minutes" if chosen.rounds is None else f"{chosen.rounds} rounds"
    say(f"seed {seed}, {length}; logs and cases in {folder}")
    try:
        found = asyncio.run(_go(folder, seed, chosen))
    except KeyboardInterrupt:
        say("ended by a signal")
        return 130
    if not found and not chosen.folder:
        shutil.rmtree(folder)
    return 1 if found else 0


async def _go(folder: Path, seed: int, chosen: argparse.Namespace) -> bool:
    started = time.monotonic()
    async with Service.started(folder) as service:
        run = Run(service, seed, chosen.minutes * 60, chosen.rounds)
        if chosen.replay is None:
            await run.go()
        else:
            await run.replay(Case.read(chosen.replay))
        _report(run, service, folder, time.monotonic() - started)
    return bool(run.findings)


def _report(run: Run, service: Service, folder: Path, seconds: float) -> None:
    for number, finding in enumerate(run.findings.values(), start=1):
        paths = [folder / f"finding-{number}-case-{index}.json" for index in range(1, len(finding.cases) + 1)]
        for case, path in zip(finding.cases, paths, strict=True):
            case.write(path)
        say(f"\n{finding.show(paths[0] if paths else folder)}\n  seen {finding.times} times")
    stops = ", ".join(f"{name} {stop * 1000:.0f} ms" for name, stop in service.longest_stop.items())
    growth = ", ".join(f"{name} {size / MEBIBYTE:.0f} MiB" for name, size in service.highest_growth.items())
    say(f"\n{run.played:,} cases in {run.rounds} rounds and {seconds:.0f} s: {len(run.findings)} findings")
    say(f"longest stop of a loop: {stops} (without the fuzz {service.usual_stop * 1000:.0f} ms); growth: {growth}")


if __name__ == "__main__":
    sys.exit(main())
