"""`make bench`: the headline figures, each the median of several runs, and the spread beside it."""

import argparse
import json
import statistics
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import uvloop

from bench import parts
from bench.parts import Figures
from bench.service import Service, postgres, service

OUT = Path(__file__).parent / "out"
Part = Callable[[Service], Awaitable[Figures]]

PARTS: dict[str, Part] = {
    "enqueue, batches of 1,000": partial(parts.enqueue_batch, jobs=100_000),
    "enqueue, 64 single calls in flight": partial(parts.enqueue_single, jobs=10_000, in_flight=64),
    "enqueue, 1 single call in flight": partial(parts.enqueue_single, jobs=1_000, in_flight=1),
    "drain, 1 worker, 2,000 credits": partial(parts.drain, jobs=100_000, credits_wanted=2_000),
    "drain, 2 workers, 2,000 credits": partial(parts.drain, jobs=100_000, credits_wanted=2_000, workers=2),
    "drain, 1 worker, 100 credits": partial(parts.drain, jobs=50_000, credits_wanted=100),
    "drain, 1 worker, 10 credits": partial(parts.drain, jobs=10_000, credits_wanted=10),
    "drain, 1 worker, 1 credit": partial(parts.drain, jobs=2_000, credits_wanted=1),
    "pick-up, idle worker": partial(parts.pick_up, jobs=300),
}


async def main() -> None:
    """Run the parts that were asked for, in turns, so that a slow minute hits them all."""
    arguments = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    arguments.add_argument("part", nargs="*", help="only parts whose name contains this")
    arguments.add_argument("--runs", type=int, default=3)
    chosen = arguments.parse_args()
    wanted = {
        name: part for name, part in PARTS.items() if not chosen.part or any(text in name for text in chosen.part)
    }
    figures: dict[str, list[Figures]] = {name: [] for name in wanted}
    OUT.mkdir(exist_ok=True)
    with postgres() as dsn, (OUT / "figures.jsonl").open("a") as lines:
        for _ in range(chosen.runs):
            for name, part in wanted.items():
                async with service(dsn) as fresh:
                    measured = await part(fresh)
                figures[name].append(measured)
                lines.write(json.dumps({"part": name, "at": int(time.time()), **measured}) + "\n")
                print(".", end="", flush=True)
    print()
    for name, runs in figures.items():
        print(name)
        for key in runs[0]:
            values = sorted(run[key] for run in runs)
            middle = statistics.median(values)
            print(f"    {key:22} {middle:12,.1f}   ({values[0]:,.1f} to {values[-1]:,.1f})")


if __name__ == "__main__":
    uvloop.run(main())
