"""New jobs as columns: what a producer asks for in bulk, and the answers."""

from collections.abc import Sequence
from itertools import repeat
from typing import NamedTuple

from thumbq.v1 import queue_pb2
from thumbq_server.domain.job import MODEL, Enqueued, NewJob
from thumbq_server.domain.refusals import Invalid
from thumbq_server.domain.requests import (
    DEFAULT_MAX_ATTEMPTS,
    MAX_BATCH,
    check_batch,
    check_max_attempts,
    check_model_id,
    check_priority,
)
from thumbq_server.rpc.codec.jobs import OUTCOME

_HASH_BYTES = 32


class NewJobs(NamedTuple):
    """Jobs as columns of one length."""

    model_ids: Sequence[int]
    model_hashes: Sequence[bytes]
    priorities: Sequence[int]
    max_attempts: Sequence[int]

    def jobs(self) -> list[NewJob]:
        """Return the jobs, all of which are valid."""
        said_by_none = (repeat(False), repeat(0.0), repeat(MODEL), repeat(None), repeat(False), repeat(None))
        return list(map(NewJob._make, zip(*self, *said_by_none, strict=False)))

    def refusals(self) -> dict[int, Invalid]:
        """Return why jobs are not valid, by their places."""
        # The least and the greatest entries are valid only if all are.
        extremes = (min(self.model_ids), min(self.priorities), min(self.max_attempts))
        others = (max(self.model_ids), max(self.priorities), max(self.max_attempts))
        if not _refusal(*extremes) and not _refusal(*others):
            return {}
        rows = zip(self.model_ids, self.priorities, self.max_attempts, strict=True)
        return {place: why for place, row in enumerate(rows) if (why := _refusal(*row))}


def read_columns(columns: queue_pb2.NewJobColumns, most: int) -> NewJobs:
    """Return the columns of a message. Raises Invalid when their lengths are wrong."""
    check_batch(columns.model_ids, "modelIds", most)
    count, hashes = len(columns.model_ids), columns.model_hashes
    if len(hashes) != count * _HASH_BYTES:
        raise Invalid(f"modelHashes must have {_HASH_BYTES} bytes for each of the modelIds")
    return NewJobs(
        list(columns.model_ids),
        [hashes[at : at + _HASH_BYTES] for at in range(0, len(hashes), _HASH_BYTES)],
        _of_each(columns.priorities, count, 0, "priorities"),
        _of_each(columns.max_attempts, count, DEFAULT_MAX_ATTEMPTS, "maxAttempts"),
    )


def read_all(columns: queue_pb2.NewJobColumns) -> list[NewJob]:
    """Return jobs that are taken together or not at all. Raises Invalid, which names the first wrong one."""
    read = read_columns(columns, MAX_BATCH)
    for place, why in read.refusals().items():
        raise Invalid(f"jobs[{place}]: {why}") from why
    return read.jobs()


def outcomes(answers: Sequence[Enqueued]) -> list[queue_pb2.EnqueueOutcome.ValueType]:
    """Return what became of each job, or a single outcome when it is that of all."""
    found = [answer.outcome for answer in answers]
    return [OUTCOME[found[0]]] if found.count(found[0]) == len(found) else [OUTCOME[outcome] for outcome in found]


def _of_each(column: Sequence[int], count: int, default: int, name: str) -> Sequence[int]:
    if len(column) == count:
        return list(column)
    if len(column) > 1:
        raise Invalid(f"{name} must have no entry, one, or one for each of the modelIds")
    return [column[0] if column else default] * count


def _refusal(model_id: int, priority: int, max_attempts: int) -> Invalid | None:
    try:
        check_model_id(model_id)
        check_priority(priority)
        check_max_attempts(max_attempts)
    except Invalid as why:
        return why
    return None
