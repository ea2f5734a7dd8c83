"""Jobs that came as columns, each as light as a handler lets it be."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, TypeVar, cast

from thumbq.v1.job_pb2 import Job, JobStatus
from thumbq.v1.queue_pb2 import JobColumns

T = TypeVar("T")

_HASH_BYTES = 32


class ColumnJob:
    """Has all that the message Job has, to be read.

    What a quick handler reads is an attribute of its own. The message is made when anything else is asked for, such as
    `created_at`.
    """

    __slots__ = ("_columns", "_hashes", "_message", "_place", "id", "lease_token", "model_id")

    _message: Job

    def __init__(
        self, columns: JobColumns, hashes: bytes, place: int, job_id: int, model_id: int, lease_token: str
    ) -> None:
        self._columns = columns
        self._hashes = hashes
        self._place = place
        self.id = job_id
        self.model_id = model_id
        self.lease_token = lease_token

    @property
    def model_hash(self) -> str:
        """SHA-256 of the model file, 64 lower-case hexadecimal digits."""
        start = self._place * _HASH_BYTES
        return self._hashes[start : start + _HASH_BYTES].hex()

    @property
    def traceparent(self) -> str:
        """The span that the attempt continues, empty for none."""
        columns, place = self._columns, self._place
        return columns.traceparents[list(columns.with_traces).index(place)] if place in columns.with_traces else ""

    def __getattr__(self, name: str) -> Any:
        if name == "_message":
            self._message = self._make_message()
            return self._message
        return getattr(self._message, name)

    def __eq__(self, other: object) -> bool:
        return bool(self._message == (other._message if isinstance(other, ColumnJob) else other))

    # Like the message, it can change its identity in no set.
    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self._message)

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy, or what another process gets, is the message."""
        return Job.FromString, (self._message.SerializeToString(),)

    def _make_message(self) -> Job:
        columns, place = self._columns, self._place
        job = Job(
            id=self.id,
            model_id=self.model_id,
            model_hash=self.model_hash,
            status=JobStatus.JOB_STATUS_PROCESSING,
            attempt_count=_entry(columns.attempt_counts, place),
            updated_at=columns.claimed_at,
            asset_type=_entry(columns.asset_types, place) if columns.asset_types else "Model",
            priority=_entry(columns.priorities, place),
            max_attempts=_entry(columns.max_attempts, place),
            lease_token=self.lease_token,
            lease_expires_at=columns.lease_expires_at,
        )
        job.created_at.FromMicroseconds(_entry(columns.created_at, place))
        if place in columns.with_options:
            job.options.update(json.loads(columns.options[list(columns.with_options).index(place)]))
        if place in columns.with_traces:
            entry = list(columns.with_traces).index(place)
            job.traceparent = columns.traceparents[entry]
            if earlier := columns.earlier_attempts[entry]:
                job.earlier_attempt = earlier
        return job


def from_columns(columns: JobColumns) -> list[Job]:
    """Return the jobs, for handlers that take the message Job."""
    lease, hashes = columns.lease, columns.model_hashes
    pairs = enumerate(zip(columns.ids, columns.model_ids, strict=True))
    jobs = [ColumnJob(columns, hashes, place, id_, model, f"{id_}-{lease}") for place, (id_, model) in pairs]
    return cast("list[Job]", jobs)


def _entry(column: Sequence[T], place: int) -> T:
    """Return the entry of one job; a single entry is that of all."""
    return column[place] if len(column) > 1 else column[0]
