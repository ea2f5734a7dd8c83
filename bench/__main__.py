"""Measure thumbq beside its peers, and print the figures: `python -m bench [part…]`."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable

from bench import smoke
from bench.lab import Lab
from bench.parts import flat, json_path, rivals, sse, start
from bench.reporting import report
from bench.reporting.results import Part, Results
from bench.running import cluster
from bench.subjects import contenders
from bench.subjects.contenders import OUT

Measured = Callable[[Lab, Part], Awaitable[None]]

# In order of importance: the results of a part are written when it ends, so a run may be cut short.
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
HEADLINES = ("drain", "enqueue", "enqueue-one", "pick-up", "json", "streams")


def main() -> None:
    """Measure, or count for the regression guard."""
    options = _options()
    if options.parts == ["smoke"]:
        sys.exit(asyncio.run(smoke.run(record=options.record)))
    try:
        asyncio.run(_measure(options))
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit(130)


def _options() -> argparse.Namespace:
    arguments = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    arguments.add_argument(
        "parts", nargs="*", metavar="part", help=f"{', '.join(PARTS)}; smoke; default: the headlines"
    )
    arguments.add_argument("--full", action="store_true", help="all parts, at full length")
    arguments.add_argument("--runs", type=int, default=3, help="runs of each contender")
    arguments.add_argument("--scale", type=float, default=1.0, help="factor on the number of jobs, for a quick try")
    arguments.add_argument("--docs", action="store_true", help="write the tables into docs/performance.md")
    arguments.add_argument("--record", action="store_true", help="with smoke: accept the present counts as expected")
    options = arguments.parse_args()
    if unknown := set(options.parts) - set(PARTS) - {"smoke"}:
        arguments.error(f"there is no part {', '.join(sorted(unknown))}")
    return options


async def _measure(options: argparse.Namespace) -> None:
    _end_on_sigterm()
    names = options.parts or (list(PARTS) if options.full else list(HEADLINES))
    results = Results(OUT, fresh=not options.parts)
    missing = contenders.install_peers()
    for name, reason in missing.items():
        print(f"{name} is left out: {reason}", flush=True)
    logs = OUT / "run"
    with cluster.started(logs) as postgres:
        lab = Lab(
            cluster=postgres,
            logs=logs,
            results=results,
            runs=options.runs,
            scale=options.scale,
            brief=not options.full and not options.parts,
            missing=missing,
        )
        machine, arguments = await report.machine(postgres), " ".join(sys.argv[1:])
        results.begin(machine, arguments)
        if options.docs:
            report.write_machine(machine)
        for name in names:
            part = results.part(name)
            print(f"{name} ", end="", flush=True)
            await PARTS[name](lab, part)
            part.noise.end()
            report.show(results, part)
            if options.docs:
                report.write_part(part, arguments)
                if not options.parts:
                    report.write_ratios(results)


def _end_on_sigterm() -> None:
    """Stop as on Ctrl-C, together with every process that was started."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


if __name__ == "__main__":
    main()
