"""Leases as reports name them: sorted, and grouped by their lease_seq.

A statement that joins `leases` with a list of tokens may get a plan that scans all of `leases`: one that was made while
the table was empty. So statements take the jobs group by group, and find each group by its keys
(docs/decisions/0012-completions-by-group.md). Locks are taken in the order of lease_seq and job_id.

A report may name "whatever lease the job has" (0). `with_numbers` finds its number first: without it the lease would be
locked out of order.
"""

from collections.abc import Iterable, Sequence
from itertools import accumulate, groupby
from typing import NamedTuple, Protocol, Self, TypeVar

from thumbq_server.storage.postgres.lane import Lane
from thumbq_server.storage.statements import Statement

PARAMETERS = "job_ids bigint[], group_lease_seqs bigint[], group_firsts integer[], group_lasts integer[]"
# The leases `l` that the groups `g` name. With a plain `=` the planner may join by lease_seq, and scan all leases.
GROUPS = "unnest($2::bigint[], $3::int[], $4::int[]) AS g (lease_seq, first, last)"
NAMED = "l.job_id = ANY (($1::bigint[])[g.first:g.last]) AND l.lease_seq = ANY (ARRAY[g.lease_seq])"

NUMBERS = Statement("held_numbers", "job_ids bigint[]", "SELECT job_id, lease_seq FROM leases WHERE job_id = ANY ($1)")


class Report(Protocol):
    """Anything that names a lease."""

    @property
    def job_id(self) -> int:
        """The job that it speaks of."""

    @property
    def lease_seq(self) -> int:
        """The number of the lease, or 0 for whatever lease the job has."""

    def _replace(self, *, lease_seq: int = ...) -> Self:
        """Return the same report of another lease."""


R = TypeVar("R", bound=Report)


class Named(NamedTuple):
    """The parameters of PARAMETERS, in their order."""

    job_ids: Sequence[int]
    group_lease_seqs: Sequence[int]
    group_firsts: Sequence[int]
    group_lasts: Sequence[int]


async def with_numbers(lane: Lane, reports: Sequence[R]) -> Sequence[R]:
    """Return the same reports, each 0 replaced by the number of the lease that the job has now, if it has one.

    A lease that is gone when it is to be locked was there a moment before: so there was a moment without one.
    """
    without = [report.job_id for report in reports if not report.lease_seq]
    if not without:
        return reports
    numbers = {row["job_id"]: row["lease_seq"] for row in await lane.fetch(NUMBERS, without)}
    return [
        report if report.lease_seq else report._replace(lease_seq=numbers.get(report.job_id, 0)) for report in reports
    ]


def in_order(reports: Iterable[R]) -> list[R]:
    """Return one report for each lease, in the order in which leases are locked; the first report of a lease stays."""
    firsts: dict[tuple[int, int], R] = {}
    for report in reports:
        firsts.setdefault((report.lease_seq, report.job_id), report)
    return [firsts[key] for key in sorted(firsts)]


def named(reports: Sequence[Report]) -> Named:
    """Return the parameters that name these leases; `reports` are in_order."""
    sizes = [(lease_seq, len(list(group))) for lease_seq, group in groupby(report.lease_seq for report in reports)]
    return grouped([report.job_id for report in reports], sizes)


def grouped(job_ids: Sequence[int], sizes: Iterable[tuple[int, int]]) -> Named:
    """Return the parameters that name these leases; `sizes` has each lease_seq, and how many of the jobs are its own.

    The jobs stand lease_seq by lease_seq, and these in their order.
    """
    lease_seqs, counts = zip(*sizes, strict=True) if job_ids else ((), ())
    lasts = list(accumulate(counts))
    firsts = [last - count + 1 for last, count in zip(lasts, counts, strict=True)]
    return Named(job_ids, lease_seqs, firsts, lasts)
