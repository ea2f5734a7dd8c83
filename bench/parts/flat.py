"""Compare a big queue with a small one."""

import asyncio
import statistics

from bench.drivers.program import Figures
from bench.lab import Lab
from bench.measure import completions, drain_rate
from bench.reporting.results import Entrant, Part, Row
from bench.session import Session, slices
from bench.subjects.contenders import THUMBQ

_MILLION = 1_000_000
_SAMPLE = 100_000
_AHEAD = 20_000  # jobs between producer and worker in the sustained run


async def flat(lab: Lab, part: Part) -> None:
    """Measure on a small table, beside a million pending jobs, beside a million finished ones, and over a million."""
    million, sample = lab.jobs(_MILLION), lab.jobs(_SAMPLE) - 1_000
    few = sample + 10_000
    small = _row(few, "pending, none finished")
    pending = _row(million, "pending")
    finished = _row(million, f"finished, {few:,} pending")
    begin, end = _row(million, "sustained, the first fifth"), _row(million, "sustained, the last fifth")

    async def levels() -> dict[Row, Figures]:
        async with lab.session(THUMBQ) as session:
            enqueued = await session.fill(few)
            await session.database.settle()
            figures = {small: {"drain_jobs_per_s": await drain_rate(session, sample, few)} | _enqueue(enqueued)}
        async with lab.session(THUMBQ) as session:
            first = 1 + million - few
            await session.fill(million - few)
            enqueued = await session.fill(few, first)
            await session.database.settle()
            figures[pending] = {"drain_jobs_per_s": await drain_rate(session, sample, million)} | _enqueue(enqueued)
            await session.database.settle()
            enqueued = await session.fill(few, first=million + 1)
            await session.database.settle()
            figures[finished] = {"drain_jobs_per_s": await drain_rate(session, sample, few)} | _enqueue(enqueued)
        return figures

    async def sustained() -> dict[Row, Figures]:
        async with lab.session(THUMBQ) as session:
            rates = await _sustain(session, million)
        fifth = max(1, len(rates) // 5)
        return {
            begin: {"both_jobs_per_s": statistics.harmonic_mean(rates[:fifth])},
            end: {"both_jobs_per_s": statistics.harmonic_mean(rates[-fifth:])},
        }

    entrants = [
        Entrant("thumbq", "levels", levels),
        Entrant("thumbq", "sustained", sustained),
    ]
    await lab.compare(part, entrants)
    lab.results.ratio("flat_pending", part.ratio(pending, small, "drain_jobs_per_s"))
    lab.results.ratio("flat_finished", part.ratio(finished, small, "drain_jobs_per_s"))
    lab.results.ratio("flat_sustained", part.ratio(end, begin, "both_jobs_per_s"))


async def _sustain(session: Session, jobs: int) -> list[float]:
    """Enqueue and drain at the same time. Return the jobs a second of each slice of the run."""
    slice_size = max(1_000, jobs // 20)
    async with session.workers(session.contender.drains) as workers, completions(session) as until:
        meters = [str(meter.path) for meter in workers.meters]
        options = {"jobs": jobs, "first": 1, "in_flight": 4, "ahead": _AHEAD, "meters": meters}
        producing = asyncio.create_task(session.verb("sustain", limit=300.0, **options))
        try:
            ends = [await until(count) for count in range(slice_size, jobs + 1, slice_size)]
        finally:
            producing.cancel()
            await asyncio.gather(producing, return_exceptions=True)
        await session.until_finished()
        return list(slices([workers.first, *ends], slice_size))


def _row(count: int, what: str) -> Row:
    return "thumbq", f"{count:,} {what}"


def _enqueue(figures: Figures) -> Figures:
    return {"enqueue_jobs_per_s": figures["jobs_per_s"]}
