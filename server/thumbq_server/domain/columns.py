"""Many jobs side by side: an entry of each column for a job. Tens of thousands of jobs a second go through here."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import chain, repeat
from typing import NamedTuple, TypeVar, overload

from thumbq_server.domain.job import MODEL, ClaimedJob, Completion, Failure, Token
from thumbq_server.domain.traces import Trace

T = TypeVar("T")

HASH_BYTES = 32
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, eq=False)
class Claimed(Sequence[ClaimedJob]):
    """Jobs that one claim took, as columns; read as a sequence, it makes each ClaimedJob when it is asked for.

    A column from expires_at on may have one entry, which then holds for all jobs. created_at is in microseconds since
    1970.
    """

    lease_seq: int
    claimed_at: datetime
    job_ids: Sequence[int]
    model_ids: Sequence[int]
    # 32 bytes each, one after the other
    model_hashes: bytes
    expires_at: Sequence[datetime]
    attempts: Sequence[int]
    priorities: Sequence[int]
    max_attempts: Sequence[int]
    created_at: Sequence[int]
    kinds: Sequence[str] = (MODEL,)
    # by job: few have any
    options: Mapping[int, str] = field(default_factory=dict)
    traces: Mapping[int, Trace] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.job_ids)

    @overload
    def __getitem__(self, place: int) -> ClaimedJob: ...

    @overload
    def __getitem__(self, place: slice) -> "Claimed": ...

    def __getitem__(self, place: int | slice) -> "ClaimedJob | Claimed":
        if isinstance(place, slice):
            return self.at(range(len(self))[place])
        job_id = self.job_ids[place]
        place %= len(self)
        return ClaimedJob(
            job_id,
            self.lease_seq,
            self.model_ids[place],
            self.model_hashes[place * HASH_BYTES : (place + 1) * HASH_BYTES],
            entry(self.attempts, place),
            entry(self.priorities, place),
            entry(self.max_attempts, place),
            _EPOCH + timedelta(microseconds=entry(self.created_at, place)),
            entry(self.kinds, place),
            self.options.get(job_id),
            self.claimed_at,
            entry(self.expires_at, place),
            self.traces.get(job_id),
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def at(self, places: Sequence[int]) -> "Claimed":
        """Return the jobs at these places."""

        def cut(column: Sequence[T]) -> Sequence[T]:
            return column if len(column) == 1 else [column[place] for place in places]

        hashes = self.model_hashes
        return replace(
            self,
            job_ids=[self.job_ids[place] for place in places],
            model_ids=[self.model_ids[place] for place in places],
            model_hashes=b"".join([hashes[place * HASH_BYTES : (place + 1) * HASH_BYTES] for place in places]),
            expires_at=cut(self.expires_at),
            attempts=cut(self.attempts),
            priorities=cut(self.priorities),
            max_attempts=cut(self.max_attempts),
            created_at=cut(self.created_at),
            kinds=cut(self.kinds),
        )

    def tokens(self) -> list[Token]:
        """Return their leases."""
        return [Token(job_id, self.lease_seq) for job_id in self.job_ids]


NOTHING = Claimed(0, _EPOCH, (), (), b"", (), (), (), (), ())


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


def together(reports: Iterable[Report]) -> Report:
    """Return what several reports say as one."""
    return Report(*(list(chain(*part)) for part in zip(*reports, strict=True)))


def microseconds(moment: datetime) -> int:
    """Return the microseconds since 1970."""
    return (moment - _EPOCH) // _MICROSECOND


def entry(column: Sequence[T], place: int) -> T:
    """Return the entry of one job; a single entry is that of all."""
    return column[place] if len(column) > 1 else column[0]


def one_or_all(column: Sequence[T]) -> Sequence[T]:
    """Return a column as a single entry when all its entries are equal."""
    return column[:1] if column and column.count(column[0]) == len(column) else column
