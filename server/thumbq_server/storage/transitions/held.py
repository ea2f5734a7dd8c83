"""Leases as reports name them: sorted, and grouped by their lease_seq.

A statement that joins `leases` with a list of tokens may get a plan that scans all of `leases`: one that was made while
the table was empty. So statements take the jobs group by group, and find each group by its keys
(docs/decisions/0012-completions-by-group.md). Locks are taken in the order of lease_seq and job_id.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple, Protocol, TypeVar

PARAMETERS = (
    "job_ids bigint[], lease_seqs bigint[], group_lease_seqs bigint[], group_firsts integer[], group_lasts integer[]"
)
# The leases `l` that the groups `g` name. A lease_seq of 0 names whatever lease the job has.
GROUPS = "unnest($3::bigint[], $4::int[], $5::int[]) AS g (lease_seq, first, last)"
NAMED = "l.job_id = ANY (($1::bigint[])[g.first:g.last]) AND (l.lease_seq = g.lease_seq OR g.lease_seq = 0)"


class Report(Protocol):
    """Anything that names a lease."""

    @property
    def job_id(self) -> int:
        """The job that it speaks of."""

    @property
    def lease_seq(self) -> int:
        """The number of the lease, or 0 for whatever lease the job has."""


R = TypeVar("R", bound=Report)


class Named(NamedTuple):
    """The parameters of PARAMETERS, in their order."""

    job_ids: Sequence[int]
    lease_seqs: Sequence[int]
    group_lease_seqs: Sequence[int]
    group_firsts: Sequence[int]
    group_lasts: Sequence[int]


def in_order(reports: Iterable[R]) -> list[R]:
    """Return one report for each lease, in the order in which leases are locked; the first report of a lease stays."""
    firsts: dict[tuple[int, int], R] = {}
    for report in reports:
        firsts.setdefault((report.lease_seq, report.job_id), report)
    return [firsts[key] for key in sorted(firsts)]


def named(reports: Sequence[Report]) -> Named:
    """Return the parameters that name these leases; `reports` are in_order."""
    job_ids = [report.job_id for report in reports]
    lease_seqs = [report.lease_seq for report in reports]
    groups: list[tuple[int, int, int]] = []
    for lease_seq, group in groupby(lease_seqs):
        first = groups[-1][2] + 1 if groups else 1
        groups.append((lease_seq, first, first + len(list(group)) - 1))
    seqs, firsts, lasts = map(list, zip(*groups, strict=True)) if groups else ([], [], [])
    return Named(job_ids, lease_seqs, seqs, firsts, lasts)
