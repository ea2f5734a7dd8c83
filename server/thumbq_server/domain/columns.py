"""Many jobs side by side: an entry of each column for a job. Tens of thousands of jobs a second go through here."""

from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import NamedTuple, TypeVar

from thumbq_server.domain.job import Completion, Failure, Token

T = TypeVar("T")


class Completions(NamedTuple):
    """Valid pictures, all made under leases of one number. The order of the fields is that of Completion."""

    lease_seq: int
    job_ids: Sequence[int]
    thumbnail_paths: Sequence[str]
    sizes_bytes: Sequence[int]
    widths: Sequence[int]
    heights: Sequence[int]

    def rows(self) -> Iterator[Completion]:
        """Return them one by one."""
        lease_seq, job_ids, *pictures = self
        return map(Completion._make, zip(job_ids, repeat(lease_seq), *pictures, strict=False))


class Report(NamedTuple):
    """What workers report together, by verb."""

    completions: Sequence[Completion]
    failures: Sequence[Failure]
    releases: Sequence[Token]
    # completions as well
    columns: Sequence[Completions] = ()

    def tokens(self) -> list[Token]:
        """Return the leases that it speaks of, verb by verb, those in columns last."""
        completed = [Token(item.job_id, item.lease_seq) for item in self.completions]
        failed = [Token(item.job_id, item.lease_seq) for item in self.failures]
        in_columns = [Token(item.job_id, item.lease_seq) for group in self.columns for item in group.rows()]
        return [*completed, *failed, *self.releases, *in_columns]


def one_or_all(column: Sequence[T]) -> Sequence[T]:
    """Return a column whose entries are all the same as a single entry."""
    return column[:1] if column.count(column[0]) == len(column) else column
