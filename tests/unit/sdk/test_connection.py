"""The pauses between attempts of the clients, and the log of an outage."""

import logging

import pytest

from thumbq.connection import Backoff, Link


def test_pauses_double_up_to_a_limit_and_are_jittered_by_half():
    backoff = Backoff(first=1, limit=10)
    for step in (1, 2, 4, 8, 10, 10):
        assert step / 2 <= backoff.pause() <= step
    backoff.reset()
    assert backoff.pause() <= 1


def test_an_outage_is_logged_when_it_begins_and_when_it_ends(caplog: pytest.LogCaptureFixture):
    link = Link("somewhere:50051")
    link.up()
    with caplog.at_level(logging.INFO, "thumbq"):
        for _ in range(5):
            link.down("UNAVAILABLE: connection refused")
        link.up()
        link.up()
    begin, end = (record.getMessage() for record in caplog.records)
    assert begin == "somewhere:50051 is away (UNAVAILABLE: connection refused); trying again until it is back"
    assert end.startswith("somewhere:50051 is back after ")


def test_only_a_lasting_connection_makes_pauses_short_again(monkeypatch: pytest.MonkeyPatch):
    now = 0.0
    monkeypatch.setattr("thumbq.connection.monotonic", lambda: now)
    link = Link("somewhere:50051")
    pauses = []
    for _ in range(10):
        link.up()
        now += 1
        pauses.append(link.down("gone"))
    assert pauses[-1] >= 2.5
    link.up()
    now += 6
    assert link.down("gone") <= 0.2
