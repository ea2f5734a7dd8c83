"""Claimed jobs as columns are the same jobs, whole and in parts."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thumbq_server.domain.columns import NOTHING, Claimed, one_or_all
from thumbq_server.domain.job import MODEL, ClaimedJob, Token

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
ONE_AND_A_HALF = datetime(1970, 1, 1, 0, 0, 1, 500_000, tzinfo=UTC)
ENDS = [NOW + timedelta(seconds=10), NOW + timedelta(seconds=600)]


def hashed(number: int) -> bytes:
    return bytes([number]) * 32


@pytest.fixture
def claimed() -> Claimed:
    hashes = hashed(1) + hashed(2)
    columns = ([1, 1], [5], [3], [1_500_000], [MODEL, "Sound"], {12: "{}"})
    return Claimed(7, NOW, [11, 12], [101, 102], hashes, ENDS, *columns)


def test_each_job_has_its_own_entries_and_those_that_all_share(claimed: Claimed) -> None:
    first, second = claimed
    assert first == ClaimedJob(11, 7, 101, hashed(1), 1, 5, 3, ONE_AND_A_HALF, MODEL, None, NOW, ENDS[0])
    assert second == ClaimedJob(12, 7, 102, hashed(2), 1, 5, 3, ONE_AND_A_HALF, "Sound", "{}", NOW, ENDS[1])
    assert (claimed[-1], claimed[-2]) == (second, first)
    assert claimed.tokens() == [Token(11, 7), Token(12, 7)]
    with pytest.raises(IndexError):
        claimed[2]


@given(places=st.lists(st.integers(0, 4), max_size=5), shared=st.lists(st.booleans(), min_size=6, max_size=6))
def test_a_part_has_the_jobs_at_its_places(places: list[int], shared: list[bool]) -> None:
    values: tuple[Any, ...] = ([NOW + timedelta(seconds=n) for n in range(5)], *[list(range(5))] * 4, list("abcde"))
    columns: list[Any] = [column[:1] if is_shared else column for column, is_shared in zip(values, shared, strict=True)]
    jobs = replace(Claimed(7, NOW, range(5), range(5), b"".join(map(hashed, range(5))), *columns), options={3: "{}"})
    part = jobs.at(places)
    assert list(part) == [list(jobs)[place] for place in places]
    assert part == list(part)
    assert jobs[1:3] == list(jobs)[1:3]


def test_equal_entries_are_one() -> None:
    assert (one_or_all([3, 3, 3]), one_or_all([3, 4]), one_or_all(())) == ([3], [3, 4], ())
    assert (len(NOTHING), list(NOTHING)) == (0, [])
