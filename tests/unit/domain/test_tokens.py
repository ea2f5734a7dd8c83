"""Lease tokens are opaque to clients, and the server refuses malformed ones."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thumbq_server.domain.job import INT64_MAX, Token, format_token
from thumbq_server.domain.refusals import Invalid, StaleLease
from thumbq_server.domain.requests import parse_token


@given(st.integers(0, INT64_MAX), st.integers(1, INT64_MAX))
def test_a_token_is_read_back_as_it_was_given(job_id, lease_seq):
    assert parse_token(format_token(job_id, lease_seq, "h1"), "h1") == Token(job_id, lease_seq)


@pytest.mark.parametrize(
    "text",
    [
        *("", "-", "15", "15-", "-2", "15--2", "-15-2", "15 -2", " 15-2", "+15-2", "15-+2"),
        *("15-0", "0x1-1", "1e1-1", "1_5-2", "15.0-2", "abc", "15–2", "²-1", "1-²", "\u0661-\u0661", "\uff11-\uff11"),
        *(f"{INT64_MAX + 1}-1", f"1-{INT64_MAX + 1}", "1-" + "0" * 39 + "1", "9" * 5000 + "-1"),
    ],
)
def test_a_malformed_token_is_refused(text):
    with pytest.raises(Invalid, match="leaseToken is malformed"):
        parse_token(text, "h1")


@pytest.mark.parametrize("text", ["15-2", "15-2-", "15-2-h2", "15-2-h1-", "15-2-h1 "])
def test_a_token_of_another_history_is_stale(text):
    with pytest.raises(StaleLease):
        parse_token(text, "h1")


@given(st.text(alphabet=st.sampled_from("0123456789-+_ ²٣a\0"), max_size=40) | st.text())
def test_any_text_is_a_token_or_refused(text):
    try:
        token = parse_token(text, "h1")
    except (Invalid, StaleLease):
        return
    assert 0 <= token.job_id <= INT64_MAX
    assert 0 < token.lease_seq <= INT64_MAX
