"""`python -m bench [part…]`: measures thumbq beside its peers, and says what came of it."""

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import Awaitable, Callable

from bench import cluster, contenders, report, smoke
from bench.contenders import OUT
from bench.lab import Lab
from bench.parts import flat, json_path, rivals, sse, start
from bench.results import Part, Results

Measured = Callable[[Lab, Part], Awaitable[None]]

# The most important first: each part's results are written when it ends.
PARTS: dict[str, Measured] = {
    "drain": rivals.drain,
    "enqueue": rivals.enqueue,
    "enqueue-one": rivals.enqueue_one,
    "pick-up": rivals.pick_up,
    "flat": flat.flat,
    "json": json_path.json_path,
    "streams": rivals.streams,
    "sse": sse.sse,
    "sse-storm": sse.storm,
    "mixed": rivals.mixed,
    "credits": rivals.credit,
    "start": start.start,
}
_PATIENCE = 22 * 60.0  # seconds
HEADLINES = ("drain", "enqueue", "enqueue-one", "pick-up")


def main() -> None:
    """Measure, or count for the regression guard."""
    wished = _arguments()
    if wished.parts == ["smoke"]:
        sys.exit(asyncio.run(smoke.run(record=wished.record)))
    try:
        asyncio.run(_measure(wished))
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit(130)


def _arguments() -> argparse.Namespace:
    arguments = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    arguments.add_argument(
        "parts", nargs="*", metavar="part", help=f"{', '.join(PARTS)}; smoke; default: the headlines"
    )
    arguments.add_argument("--full", action="store_true", help="all parts, at full length")
    arguments.add_argument("--runs", type=int, default=0, help="turns of each part (3, with --full 5)")
    arguments.add_argument("--scale", type=float, default=1.0, help="of the number of jobs, for a quick try")
    arguments.add_argument("--docs", action="store_true", help="write the tables into docs/performance.md")
    arguments.add_argument("--record", action="store_true", help="with smoke: expect from now on what is counted now")
    wished = arguments.parse_args()
    if unknown := set(wished.parts) - set(PARTS) - {"smoke"}:
        arguments.error(f"there is no part {', '.join(sorted(unknown))}")
    return wished


async def _measure(wished: argparse.Namespace) -> None:
    _end_on_sigterm()
    names = wished.parts or (list(PARTS) if wished.full else list(HEADLINES))
    results = Results(OUT, fresh=not wished.parts)
    missing = contenders.install_peers()
    logs = OUT / "run"
    with cluster.started(logs) as postgres:
        lab = Lab(
            cluster=postgres,
            logs=logs,
            results=results,
            runs=wished.runs or (5 if wished.full else 3),
            scale=wished.scale,
            brief=not wished.full and not wished.parts,
            missing=missing,
            hurry=time.monotonic() + _PATIENCE,
        )
        machine, arguments = await report.machine(postgres), " ".join(sys.argv[1:])
        results.begin(machine, arguments)
        if wished.docs:
            report.write_machine(machine)
        for name in names:
            part = results.part(name)
            print(f"{name} ", end="", flush=True)
            await PARTS[name](lab, part)
            part.noise.end()
            report.show(results, part)
            if wished.docs:
                report.write_part(part, arguments)
                if not wished.parts:
                    report.write_ratios(results)


def _end_on_sigterm() -> None:
    """As on Ctrl-C: with everything that was started."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


if __name__ == "__main__":
    main()
