"""What `thumbq top` shows: one screen for a terminal of any size, or one line."""

from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from thumbq.cli.output.formatting import RARE_ENDS, format_duration, format_rate, format_text
from thumbq.v1.admin_pb2 import GetStatsResponse, MinuteActivity, Quantiles, WorkerInfo
from thumbq.v1.job_pb2 import Job
from thumbq_runtime.text import printable

_BARS = "▁▂▃▄▅▆▇█"
# Looks whose depth is drawn.
_HISTORY = 60
# Lines above the two lists, and their headings.
_FIXED_LINES = 9


@dataclass
class Seen:
    """What the last look at a server found."""

    server: str
    stats: GetStatsResponse | None = None
    workers: list[WorkerInfo] = field(default_factory=list)
    dead_letters: list[Job] = field(default_factory=list)
    away_since: datetime | None = None
    depths: deque[int] = field(default_factory=lambda: deque(maxlen=_HISTORY))
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def looked(self) -> None:
        """Note when this was seen, and how many jobs waited."""
        self.at = datetime.now(UTC)
        if self.stats:
            self.depths.append(self.stats.pending)


def line(seen: Seen) -> str:
    """Return a look as one line."""
    if seen.away_since:
        return f"{seen.away_since.astimezone():%H:%M:%S}  no answer"
    stats = seen.stats or GetStatsResponse()
    return (
        f"{seen.at.astimezone():%H:%M:%S}  pending {stats.pending}  processing {stats.processing}"
        f"  {'  '.join(_rates(stats, seen.at))}  workers {len(seen.workers)}" + ("  paused" if stats.paused else "")
    )


def screen(seen: Seen, height: int) -> RenderableType:
    """Return a look as a screen with `height` lines."""
    stats = seen.stats or GetStatsResponse()
    room = max(height - _FIXED_LINES, 2)
    for_failures = min(len(seen.dead_letters), max(room // 3, 1))
    for_workers = max(room - for_failures, 1)
    return Group(
        _title(seen, stats),
        *_figures(stats, seen.at),
        Text(f"waiting  {_curve(seen.depths)}", overflow="crop", no_wrap=True),
        Text(),
        _workers(seen.workers, for_workers),
        Text(),
        _failures(seen.dead_letters[:for_failures]),
    )


def _title(seen: Seen, stats: GetStatsResponse) -> Text:
    title = Text(f"thumbq {printable(seen.server)}  {seen.at.astimezone():%H:%M:%S}", style="bold", no_wrap=True)
    if seen.away_since:
        away = format_duration(datetime.now(UTC) - seen.away_since)
        title.append(f"  no answer for {away}; what follows is old", style="red")
    elif stats.paused:
        by = f" by {printable(stats.pause.paused_by)}" if stats.pause.paused_by else ""
        title.append(f"  paused{by}", style="red")
    return title


def _figures(stats: GetStatsResponse, at: datetime) -> list[Text]:
    states = [f"{name} {getattr(stats, name)}" for name in ("pending", "processing", "completed", "failed")]
    rates = _rates(stats, at)
    if stats.HasField("oldest_pending_age"):
        rates.append(f"oldest due for {format_duration(stats.oldest_pending_age.ToTimedelta())}")
    times = [_times("waiting", stats.wait_time), _times("processing", stats.processing_time)]
    return [Text("   ".join(filter(None, parts)), no_wrap=True) for parts in (states, rates, times)]


def _rates(stats: GetStatsResponse, at: datetime) -> list[str]:
    """Return the ends of the last full minute before `at`."""
    began = at.replace(second=0, microsecond=0) - timedelta(minutes=1)
    # A minute in which nothing ended is missing.
    minute = next((each for each in stats.minutes if each.minute.ToDatetime(UTC) == began), MinuteActivity())
    rare = [name for name in RARE_ENDS if getattr(minute, name)]
    return [f"{name} {getattr(minute, name)}/min" for name in ("completed", "failed", *rare)]


def _times(name: str, found: Quantiles) -> str:
    if not found.samples:
        return ""
    half, most = found.p50.ToTimedelta().total_seconds(), found.p95.ToTimedelta().total_seconds()
    return f"{name} p50 {half:.3g} s, p95 {most:.3g} s"


def _curve(depths: deque[int]) -> str:
    highest = max(depths, default=0)
    return "".join(_BARS[round(depth / highest * (len(_BARS) - 1)) if highest else 0] for depth in depths)


def _workers(workers: list[WorkerInfo], lines: int) -> Table:
    shown = workers if len(workers) <= lines else workers[: lines - 1]
    table = _table(f"workers ({len(workers)})", "jobs", "per min", "heard of", "version", wide=0)
    for worker in shown:
        age = format_duration(datetime.now(UTC) - worker.last_seen_at.ToDatetime(UTC))
        figures = (str(worker.in_flight), format_rate(worker.completed_per_minute))
        table.add_row(format_text(worker.worker_id), *figures, f"{age} ago", format_text(worker.version))
    if len(shown) < len(workers):
        table.add_row(f"and {len(workers) - len(shown)} more")
    return table


def _failures(jobs: list[Job]) -> Table:
    table = _table("failed for good", "model", "error", wide=2)
    for job in jobs:
        table.add_row(str(job.id), str(job.model_id), format_text(job.error_message))
    return table


def _table(*headings: str, wide: int) -> Table:
    """Return a table over the whole width, whose wide column takes what the others leave."""
    table = Table(box=None, pad_edge=False, header_style="bold", expand=True)
    for number, heading in enumerate(headings):
        table.add_column(heading, no_wrap=True, overflow="ellipsis", ratio=1 if number == wide else None)
    return table
