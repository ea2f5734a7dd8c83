"""Jobs that came as columns, as handlers see them."""

import copy
import json
import pickle
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thumbq import Job, JobFailed, JobStatus, Thumbnail
from thumbq.results import Entry, message
from thumbq.v1 import queue_pb2
from thumbq.v1.queue_pb2 import JobColumns
from thumbq.working.column_jobs import from_columns
from thumbq_server.domain.columns import Claimed
from thumbq_server.domain.traces import Trace
from thumbq_server.rpc.codec.columns import job_columns
from thumbq_server.rpc.codec.jobs import add_claimed

T = TypeVar("T")

HASHES = [bytes([number]) * 32 for number in (1, 2)]


@pytest.fixture
def jobs() -> list[Job]:
    columns = JobColumns(
        lease="12-8c0f",
        ids=[7, 8],
        model_ids=[70, 80],
        model_hashes=b"".join(HASHES),
        attempt_counts=[1],
        priorities=[9, 0],
        max_attempts=[3],
        created_at=[1_700_000_000_123_456],
    )
    columns.claimed_at.seconds = 1_700_000_001
    columns.lease_expires_at.seconds = 1_700_000_011
    return from_columns(columns)


def test_a_handler_reads_all_that_a_job_has(jobs: list[Job]):
    first, second = jobs
    assert [(job.id, job.model_id, job.model_hash, job.lease_token) for job in jobs] == [
        (7, 70, HASHES[0].hex(), "7-12-8c0f"),
        (8, 80, HASHES[1].hex(), "8-12-8c0f"),
    ]
    assert [(job.attempt_count, job.priority, job.max_attempts) for job in jobs] == [(1, 9, 3), (1, 0, 3)]
    assert (first.status, first.asset_type) == (JobStatus.JOB_STATUS_PROCESSING, "Model")
    assert second.created_at.ToDatetime(UTC) == datetime(2023, 11, 14, 22, 13, 20, 123456, UTC)
    took = first.lease_expires_at.ToDatetime() - first.updated_at.ToDatetime()
    assert took.total_seconds() == 10
    assert not first.HasField("run_at")
    with pytest.raises(AttributeError, match="nonsense"):
        first.nonsense  # type: ignore[attr-defined]  # noqa: B018


def test_a_job_is_equal_to_its_message_and_prints_and_travels_like_it(jobs: list[Job]):
    job = jobs[0]
    plain = Job.FromString(job.SerializeToString())
    assert type(plain) is Job
    assert job == plain
    assert job != jobs[1]
    assert repr(job) == repr(plain)
    assert pickle.loads(pickle.dumps(job)) == plain
    assert copy.deepcopy(job) == plain


def test_successes_go_into_columns_by_lease_and_the_rest_stay_results():
    picture, broken = Thumbnail("/a.png", 1, 2, 3), Thumbnail("/b.png", 1, 2**40, 3)
    entries: list[Entry] = [
        ("1-5-h", picture),
        ("2-6-h", broken),
        ("3-5-h", picture),
        ("4-5-h", JobFailed("no")),
        ("5-5-h", None),
    ]
    built, unfit = message(entries, columns=True)
    assert list(unfit) == ["2-6-h"]
    results = built.results
    (group,) = results.completed
    assert (group.lease, list(group.job_ids)) == ("5-h", [1, 3])
    pictures = (group.thumbnail_paths, group.sizes_bytes, group.widths, group.heights)
    assert [list(column) for column in pictures] == [["/a.png"] * 2, [1] * 2, [2] * 2, [3] * 2]
    outcomes = {result.lease_token: result.WhichOneof("outcome") for result in results.results}
    assert outcomes == {"2-6-h": "fail", "4-5-h": "fail", "5-5-h": "release"}


def test_a_server_without_columns_gets_none():
    results = message([("1-5-h", Thumbnail("/a.png", 1, 2, 3))], columns=False)[0].results
    assert [result.lease_token for result in results.results] == ["1-5-h"]
    assert not results.completed


KINDS = st.sampled_from(["Model", "Sound", "x" * 50, "漢字", "😀"])
# As the server keeps them: canonical JSON that is never empty.
OPTIONS = st.dictionaries(st.text(max_size=5), st.none() | st.booleans() | st.integers(-9, 9) | st.text(), min_size=1)
LIMITS = st.sampled_from([1, 2, 2**31 - 1, 2**53 + 1, 2**63 - 1])


TRACES = st.builds(Trace, st.just(f"00-{1:032x}-{2:016x}-01"), st.sampled_from([None, "earlier"]))


@st.composite
def claims(draw: st.DrawFn) -> Claimed:
    moments = st.integers(0, 4 * 10**15)  # microseconds, up to the year 2096
    at = moments.map(lambda some: datetime.fromtimestamp(0, UTC) + timedelta(microseconds=some))
    job_ids = draw(st.lists(LIMITS, min_size=1, max_size=4, unique=True))

    def column(values: st.SearchStrategy[T]) -> Sequence[T]:
        """An entry a job, or one that says it of all."""
        return draw(st.one_of(*(st.lists(values, min_size=n, max_size=n) for n in {1, len(job_ids)})))

    return Claimed(
        lease_seq=draw(LIMITS),
        claimed_at=draw(at),
        job_ids=job_ids,
        model_ids=[draw(LIMITS) for _ in job_ids],
        model_hashes=b"".join(draw(st.binary(min_size=32, max_size=32)) for _ in job_ids),
        expires_at=[draw(at)],
        attempts=column(st.integers(1, 10)),
        priorities=column(st.integers(0, 9)),
        max_attempts=column(st.integers(1, 10)),
        created_at=column(moments),
        kinds=column(KINDS),
        options={job_id: json.dumps(draw(OPTIONS)) for job_id in job_ids if draw(st.booleans())},
        traces={job_id: draw(TRACES) for job_id in job_ids if draw(st.booleans())},
    )


@given(claims())
def test_jobs_are_the_same_as_columns_and_as_messages(claimed: Claimed):
    columns = JobColumns.FromString(job_columns(claimed, "8c0f").SerializeToString())
    messages = queue_pb2.DequeueJobsResponse()
    add_claimed(messages.jobs, claimed, "8c0f")
    assert list(from_columns(columns)) == list(messages.jobs)
