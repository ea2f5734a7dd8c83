"""What a flood by one address costs the callers of another: `python -m bench.flood [flood…]`, or `make flood`.

A whole service runs as `thumbq serve` starts it. A JSON worker, a gRPC worker and a page measure their rounds while it
is quiet, and again during each flood. The flood runs in a process of its own with the lowest priority, since it would
come from another machine.
"""

import argparse
import asyncio
import os
import sys
import tempfile
from pathlib import Path

import aiohttp

from bench.flood.floods import FLOODS
from bench.flood.good import CALLERS, GoodCallers, Times
from bench.measure import percentiles
from bench.running import processes, service

_UNLIMITED = ("WORKER_POLLS", "POLLS", "ENQUEUES", "READS")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.flood", description=__doc__)
    parser.add_argument("floods", nargs="*", help="default: all")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    parser.add_argument("--settle", type=float, default=3.0, help="seconds until a flood is under way")
    parser.add_argument("--unlimited", action="store_true", help="without the rates of callers")
    arguments = parser.parse_args()
    if arguments.unlimited:
        os.environ.update({f"THUMBQ_RATE_OF_{name}": "0" for name in _UNLIMITED})
    asyncio.run(run(arguments.floods or list(FLOODS), arguments.seconds, arguments.settle))


async def run(floods: list[str], seconds: float, settle: float) -> None:
    print(f"| flood | {' | '.join(f'{name}: p50, p99 ms' for name in CALLERS)} | p99, times quiet | failed |")
    print(f"|---|{'---|' * len(CALLERS)}---|---|")
    with tempfile.TemporaryDirectory() as folder:
        async with (
            service.whole(None, Path(folder)) as (_, grpc_address, http),
            aiohttp.ClientSession(f"http://{http}") as session,
        ):
            good = GoodCallers(grpc_address, session)
            await good.measure(2.0)
            for flood in floods:
                quiet = await good.measure(seconds)
                show(f"quiet, before {flood}", quiet, None, good)
                command = ["nice", "-n", "19", sys.executable, "-m", "bench.flood.floods", flood, http, grpc_address]
                attack = await processes.start(command, Path(folder) / f"{flood}.log", {})
                try:
                    await asyncio.sleep(settle)
                    times = await good.measure(seconds)
                    attack.check()
                finally:
                    await attack.stop()
                show(flood, times, quiet, good)
                await asyncio.sleep(1.0)


def show(name: str, times: Times, quiet: Times | None, good: GoodCallers) -> None:
    cells, ratios = [], []
    for caller in CALLERS:
        figures = percentiles(sorted(times[caller]))
        cells.append(f"{1000 * figures['p50_ms']:.1f}, {1000 * figures['p99_ms']:.1f}")
        if quiet:
            ratios.append(f"{figures['p99_ms'] / percentiles(sorted(quiet[caller]))['p99_ms']:.1f}")
    print(f"| {name} | {' | '.join(cells)} | {', '.join(ratios) or '–'} | {good.failures} |", flush=True)
    good.failures = 0


if __name__ == "__main__":
    main()
