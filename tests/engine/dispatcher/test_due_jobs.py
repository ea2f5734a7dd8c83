"""When a claim may find jobs: pure rules, with neither PostgreSQL nor an event loop."""

from types import SimpleNamespace

import pytest

from thumbq_server.engine.dispatching.due_jobs import DueJobs


@pytest.fixture
def clock() -> SimpleNamespace:
    return SimpleNamespace(now=100.0)


@pytest.fixture
def due(clock: SimpleNamespace) -> DueJobs:
    """What a dispatcher knows whose claim has found nothing a moment ago."""
    due = DueJobs(lambda: clock.now)
    due.ask(2)
    due.found(0, asked=2)
    return due


def test_jobs_are_expected_at_the_start() -> None:
    assert DueJobs().expected


def test_none_are_expected_after_a_claim_that_came_back_short(due: DueJobs) -> None:
    assert not due.expected


def test_a_full_claim_leaves_others(due: DueJobs) -> None:
    due.ask(2)
    due.found(2, asked=2)
    assert due.expected


def test_a_signal_that_comes_during_a_claim_counts_after_it(due: DueJobs) -> None:
    due.ask(2)
    due.expect()
    due.found(0, asked=2)
    assert due.expected


def test_jobs_stay_expected_when_nobody_can_take_one(due: DueJobs) -> None:
    due.expect()
    due.ask(0)
    assert due.expected


def test_the_poll_counts_from_the_last_claim(due: DueJobs, clock: SimpleNamespace) -> None:
    clock.now += 0.75
    assert due.next_look(1.0) == 0.25
    due.expect_after(1.0)
    assert not due.expected
    clock.now += 0.25
    due.expect_after(1.0)
    assert due.expected


def test_jobs_that_nobody_can_take_are_looked_for_after_a_whole_poll(due: DueJobs, clock: SimpleNamespace) -> None:
    clock.now += 0.75
    due.expect()
    assert due.next_look(1.0) == 1.0
