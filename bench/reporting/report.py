"""Print the tables after each part, and write them between the markers of docs/performance.md."""

import os
import platform
import re
import statistics
import time
from collections.abc import Iterable
from importlib.metadata import version as package_version
from pathlib import Path

import psutil

from bench.reporting import plot
from bench.reporting.results import RATIOS, Part, Results, Row
from bench.running.cluster import Cluster
from bench.subjects.contenders import ROOT, THUMBQ, version
from thumbq_launcher.postgres.embedded import SETTINGS

PAGE = ROOT / "docs" / "performance.md"
IMAGES = ROOT / "docs" / "images"
_UNITS = (
    ("_us_per_job", " µs/job"),
    ("_b_per_job", " B/job"),
    ("_us_per_request", " µs/request"),
    ("_per_cpu_s", "/CPU-s"),
    ("_per_s", "/s"),
    ("_ms", " ms"),
    ("_mib", " MiB"),
    ("_kib", " KiB"),
)
_LESS_IS_BETTER = ("_ms", "seconds")


async def machine(cluster: Cluster) -> str:
    """Describe the machine and the versions that the figures depend on."""
    model = re.search(r"model name\s*:\s*(.+)", _read("/proc/cpuinfo"))
    memory = psutil.virtual_memory().total / 2**30
    settings = ", ".join(f"{name} {SETTINGS[name]}" for name in ("fsync", "synchronous_commit", "shared_buffers"))
    packages = ", ".join(f"{name} {package_version(name)}" for name in ("grpcio", "asyncpg", "aiohttp", "uvloop"))
    return (
        f"{os.cpu_count()} × {model[1] if model else platform.machine()}, {memory:.0f} GiB,"
        f" Linux {platform.release()}; PostgreSQL {await cluster.version()} on a unix socket ({settings});"
        f" Python {platform.python_version()}, {packages}"
    )


def show(results: Results, part: Part) -> None:
    """Print the part's table and the ratios so far."""
    print(f"{_when(part)}\n")
    print("\n".join([*_table(part), "", *(_ratio_line(name, values) for name, values in results.ratios.items())]))
    print(flush=True)


def write_machine(machine: str) -> None:
    """Write the description of the machine into the page."""
    _put("machine", [f"{machine}."])


def write_part(part: Part, arguments: str) -> None:
    """Write the part's table and chart into the page, between its markers."""
    lines = [f"`python -m bench {arguments}`, thumbq {version(THUMBQ.name)}, {_when(part)}.", ""]
    lines += _table(part)
    if chart := _chart(part):
        image = IMAGES / f"performance-{part.name}.svg"
        image.write_text(chart)
        lines += ["", f"![{part.name}](images/{image.name})"]
    _put(part.name, lines)


def write_ratios(results: Results) -> None:
    """Write the ratios so far and their targets into the page."""
    lines = ["| ratio | floor | moonshot | median | runs |", "|---|---|---|---:|---|"]
    for name, target in RATIOS.items():
        values = results.ratios.get(name)
        figures = f"{_ratio(statistics.median(values))} | {_runs(values)}" if values else "not measured |"
        lines.append(f"| `{name}` | {target.floor} | {target.moonshot} | {figures} |")
    _put("ratios", lines)


def _when(part: Part) -> str:
    noise = part.noise
    began = time.strftime("%Y-%m-%d %H:%M", time.gmtime(noise.began))
    return f"{began} UTC, {noise.seconds:.0f} s, in which others used {noise.share:.0%} of the machine"


def _put(name: str, lines: Iterable[str]) -> None:
    begin, end = f"<!-- {name}: written by make bench-full -->", f"<!-- {name} ends -->"
    written = "\n".join([begin, *lines, end])
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    PAGE.write_text(pattern.sub(lambda _: written, PAGE.read_text()))


def _table(part: Part) -> list[str]:
    rows = list(dict.fromkeys([*part.runs, *part.problems]))
    figures = list(dict.fromkeys(name for runs in part.runs.values() for run in runs.values() for name in run))
    lines = [
        "| | setting | " + " | ".join(_title(name) for name in figures) + " | runs |",
        "|---|---|" + "---:|" * (len(figures) + 1),
    ]
    for row in rows:
        cells = [_cell(part.values(row, name)) for name in figures]
        outcome = "; ".join(
            [str(len(part.runs.get(row, ()))), *(f"failed: {why}" for why in part.problems.get(row, ()))]
        )
        lines.append(f"| {_who(row)} | {row[1]} | " + " | ".join(cells) + f" | {outcome} |")
    return lines


def _who(row: Row) -> str:
    try:
        return f"{row[0]} {version(row[0])}" if row[0] != THUMBQ.name else row[0]
    except KeyError:
        return row[0]


def _title(name: str) -> str:
    for suffix, unit in _UNITS:
        if name.endswith(suffix):
            return name.removesuffix(suffix).replace("_", " ") + unit
    return name.replace("_", " ")


def _cell(values: list[float]) -> str:
    if not values:
        return ""
    middle = _number(statistics.median(values))
    return middle if len(values) == 1 else f"{middle} ({_number(min(values))}–{_number(max(values))})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _runs(values: list[float]) -> str:
    return ", ".join(map(_ratio, values))


def _ratio(value: float) -> str:
    return f"{value:.2f}" if abs(value) < 100 else f"{value:,.0f}"


def _ratio_line(name: str, values: list[float]) -> str:
    return f"{name:24} {_ratio(statistics.median(values)):>7}   ({_runs(values)})"


def _chart(part: Part) -> str:
    """Draw the first figure of the part."""
    if not part.runs:
        return ""
    figure = next(iter(next(iter(next(iter(part.runs.values())).values()))))
    bars = [
        plot.Bar(f"{row[0]}, {row[1]}", values, ours=row[0] in {"thumbq", "gateway"})
        for row in part.runs
        if (values := part.values(row, figure))
    ]
    better = "less is better" if figure.endswith(_LESS_IS_BETTER) else "more is better"
    return plot.bars(f"{part.name}: {_title(figure)} ({better})", bars, _number)


def _read(path: str) -> str:
    return Path(path).read_text()
