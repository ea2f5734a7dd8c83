"""The figures of a run, written to files as they come."""

import json
import os
import statistics
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import psutil

from bench.drivers.program import Figures
from bench.running.processes import cpu_seconds
from bench.subjects.contenders import version


class Target(NamedTuple):
    """What a ratio or a figure has to reach, and what would be very good."""

    floor: str = ""
    moonshot: str = ""


# Every ratio with its target, and the few figures that have targets themselves.
RATIOS = {
    "drain_vs_graphile": Target("≥ 1.7", "2.1"),
    "drain_plain_vs_graphile": Target("≥ 1.15", "1.3"),
    "drain_vs_pgqueuer": Target("≥ 4", "5"),
    "enqueue_vs_pgqueuer": Target("≥ 1.3", "1.7"),
    "enqueue64_vs_best": Target("≥ 8", "12"),
    "enqueue1_vs_best": Target("≥ 0.5", "0.8"),
    "pickup_p50_vs_best": Target("≤ 0.8", "0.6"),
    "pickup_p99_vs_best": Target("≤ 0.7", "0.5"),
    "flat_pending": Target("≥ 0.9", "0.97"),
    "flat_finished": Target("≥ 0.9", "0.97"),
    "flat_sustained": Target("≥ 0.9", "0.97"),
    "json_vs_proxy": Target("≥ 2.5", "4"),
    "streams200_vs_before": Target("≥ 1.2", "1.5"),
    "streams200_vs_one": Target(),
    "two_servers_vs_one": Target("≥ 0.9", "1.2"),
    "disk_mb_per_million": Target("≤ 400", "300"),
    "wal_bytes_per_job": Target("≤ 800", "740"),
    "sse_vs_nchan": Target("≥ 0.9"),
    "sse_kib_each": Target("≤ 13", "10"),
    "sse_deliveries_per_cpu_s": Target("≥ 99,000", "120,000"),
    "sse_p99_ms": Target("< 200"),
}

_MOST_FAILURES = 2

# The first two columns of a table: a name and its setting.
Row = tuple[str, str]


@dataclass(frozen=True)
class Entrant:
    """A contender in one setting. `measure` runs it once, and returns figures for its row or for several rows."""

    name: str
    setting: str
    measure: Callable[[], Awaitable[Figures | dict[Row, Figures]]]

    @property
    def row(self) -> Row:
        """Its row of the table."""
        return self.name, self.setting


class Noise:
    """The load of other programs on this machine during a part."""

    def __init__(self) -> None:
        self.began = time.time()
        self.seconds = 0.0
        # Share of all cores that was used by neither the bench nor its children.
        self.share = 0.0
        self._ours, self._all = cpu_seconds(os.getpid()), _busy_seconds()

    def end(self) -> None:
        """Stop the clock, and compare the machine's CPU time with ours."""
        self.seconds = time.time() - self.began
        others = _busy_seconds() - self._all - (cpu_seconds(os.getpid()) - self._ours)
        self.share = max(0.0, others) / self.seconds / (os.cpu_count() or 1)


@dataclass
class Part:
    """The figures of one part, for each row and turn, and the reasons for missing ones."""

    name: str
    noise: Noise = field(default_factory=Noise)
    turn: int = 0
    runs: dict[Row, dict[int, Figures]] = field(default_factory=lambda: defaultdict(dict))
    problems: dict[Row, list[str]] = field(default_factory=lambda: defaultdict(list))

    def median(self, row: Row, figure: str) -> float | None:
        """Return the median of the runs; None without any."""
        values = self.values(row, figure)
        return statistics.median(values) if values else None

    def values(self, row: Row, figure: str) -> list[float]:
        """Return the figure of each turn that has it."""
        return [run[figure] for run in self.runs.get(row, {}).values() if figure in run]

    def ratio(self, row: Row, peer: Row, figure: str) -> list[float]:
        """Return, for each turn, the quotient of the row's figure and the peer's."""
        return [
            ours[figure] / theirs[figure]
            for turn, ours in self.runs.get(row, {}).items()
            if figure in ours and (theirs := self.runs.get(peer, {}).get(turn, {})).get(figure)
        ]


class Results:
    """Appends each run to figures.jsonl, and the ratios to ratios.json as soon as they are known."""

    def __init__(self, folder: Path, *, fresh: bool) -> None:
        """Open the files. `fresh`: forget the ratios of earlier runs."""
        folder.mkdir(parents=True, exist_ok=True)
        self._figures = folder / "figures.jsonl"
        self._ratios = folder / "ratios.json"
        self.parts: dict[str, Part] = {}
        # The ratios of all runs, by name.
        self.ratios: dict[str, list[float]] = {}
        known = json.loads(self._ratios.read_text()) if self._ratios.exists() and not fresh else {}
        self._known: dict[str, float | None] = {name: known.get(name) for name in RATIOS}
        self._write_ratios()

    def begin(self, machine: str, arguments: str) -> None:
        """Write a line about this run to figures.jsonl, before the lines of its figures."""
        self._append_line({"run": arguments, "at": int(time.time()), "machine": machine, "thumbq": version("thumbq")})

    def part(self, name: str) -> Part:
        """Begin a part."""
        self.parts[name] = Part(name)
        return self.parts[name]

    def record(self, part: Part, row: Row, figures: Figures) -> None:
        """Write down the figures of one run."""
        part.runs[row][part.turn] = figures
        self._append(part, row, figures)

    def fail(self, part: Part, row: Row, reason: str) -> None:
        """Write down why a run has no figures."""
        part.problems[row].append(reason)
        self._append(part, row, {"error": reason})

    def ratio(self, name: str, values: Sequence[float]) -> None:
        """Write down a ratio, or a figure with a target: the median of `values`."""
        if values:
            self.ratios[name] = list(values)
            self._known[name] = round(statistics.median(values), 4)
            self._write_ratios()

    def _append(self, part: Part, row: Row, outcome: dict[str, float] | dict[str, str]) -> None:
        line: dict[str, object] = {"part": part.name, "name": row[0], "setting": row[1], "at": int(time.time())}
        self._append_line(line | outcome)

    def _append_line(self, line: dict[str, object]) -> None:
        with self._figures.open("a") as lines:
            lines.write(json.dumps(line) + "\n")

    def _write_ratios(self) -> None:
        self._ratios.write_text(json.dumps(self._known, indent=2) + "\n")


async def take_turns(results: Results, part: Part, entrants: Sequence[Entrant], runs: int) -> None:
    """Measure in the order A B A B, so that a slow minute of the machine hits all entrants.

    An entrant that fails twice is left out from then on, and the table has the reason.
    """
    for part.turn in range(runs):
        for entrant in entrants:
            if len(part.problems.get(entrant.row, ())) >= _MOST_FAILURES:
                continue
            try:
                for row, figures in _by_row(entrant, await entrant.measure()).items():
                    results.record(part, row, figures)
            except Exception as problem:  # noqa: BLE001 - one entrant's failure must not stop the others
                reason = str(problem).splitlines() or [type(problem).__name__]
                results.fail(part, entrant.row, reason[0])
            print(".", end="", flush=True)
    print(flush=True)


def _busy_seconds() -> float:
    times = psutil.cpu_times()
    return times.user + times.nice + times.system + times.irq + times.softirq


def _by_row(entrant: Entrant, figures: Figures | dict[Row, Figures]) -> dict[Row, Figures]:
    rows: dict[Row, Figures] = {}
    alone: Figures = {}
    for name, value in figures.items():
        if isinstance(name, tuple) and isinstance(value, dict):
            rows[name] = value
        elif isinstance(name, str) and isinstance(value, int | float):
            alone[name] = value
    return rows | ({entrant.row: alone} if alone else {})
