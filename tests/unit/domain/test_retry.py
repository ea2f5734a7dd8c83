"""The pauses before a failed attempt is retried."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thumbq_server.domain.requests import check_new_job
from thumbq_server.domain.retry import MAX_ATTEMPTS, RetryPolicy, delay, delays, jitter

POLICY = RetryPolicy()
policies = st.builds(RetryPolicy, base=st.floats(0.001, 3600), cap=st.floats(0.001, 86400), jitter=st.floats(0, 1))


def test_the_usual_delays_double_from_5_seconds_to_10_minutes():
    assert delays(POLICY) == [5, 10, 20, 40, 80, 160, 320, 600, 600, 600]


def test_there_is_a_delay_for_every_attempt_that_a_job_can_have():
    assert len(delays(POLICY)) == MAX_ATTEMPTS
    check_new_job(1, "0" * 64, 0, MAX_ATTEMPTS, False, timedelta(0))


@given(policies, st.integers(1, MAX_ATTEMPTS))
def test_a_delay_is_never_above_the_cap_and_never_shrinks(policy, attempt):
    assert 0 < delay(attempt, policy) <= policy.cap
    assert delay(attempt, policy) <= delay(attempt + 1, policy)


def test_a_base_above_the_cap_is_the_cap():
    assert delays(RetryPolicy(base=100, cap=30)) == [30] * MAX_ATTEMPTS


@given(policies)
def test_jitter_stays_within_its_share(policy):
    # Room for rounding: 1 - 0.2 + 0.4 is not 1.2 in floating point.
    assert 1 - policy.jitter <= jitter(policy) <= 1 + policy.jitter + 1e-12


def test_jitter_varies():
    factors = [jitter(POLICY) for _ in range(1000)]
    assert 0.8 <= min(factors) < 0.85
    assert 1.15 < max(factors) <= 1.2
    assert sum(factors) / 1000 == pytest.approx(1, abs=0.05)


def test_without_jitter_a_delay_is_exact():
    assert jitter(RetryPolicy(jitter=0)) == 1
