"""Whose turn it is: pure rules, with neither PostgreSQL nor an event loop."""

from collections.abc import Sequence
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from thumbq_server.domain.columns import NOTHING, Claimed
from thumbq_server.engine.dispatching.credits import Claimant, Credits
from thumbq_server.engine.in_flight.holder import Holder

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def claimants(count: int) -> list[Claimant]:
    return [Claimant(session, 30, lambda _: None) for session in range(count)]


def jobs(*job_ids: int) -> Claimed:
    return Claimed(1, NOW, job_ids, job_ids, bytes(32 * len(job_ids)), [NOW], [1], [0], [3], [0])


def sessions(reserved: Sequence[Claimant]) -> list[int]:
    return [claimant.session for claimant in reserved]


def test_credits_are_reserved_one_from_each_claimant_in_turn():
    line = Credits()
    for claimant, count in zip(claimants(3), (3, 1, 2), strict=True):
        line.add(claimant, count)
    assert sessions(line.reserve(100)) == [0, 1, 2, 0, 2, 0]
    assert line.waiting() == []


def test_a_reservation_is_bounded_and_the_rest_stays():
    line = Credits()
    first, second = claimants(2)
    line.add(first, 5)
    line.add(second, 1)
    assert sessions(line.reserve(3)) == [0, 1, 0]
    assert (first.credits, second.credits, line.waiting()) == (3, 0, [first])


def test_a_single_claimant_may_have_the_whole_reservation():
    line = Credits()
    (only,) = claimants(1)
    line.add(only, 5)
    assert line.reserve(3) == [only] * 3
    assert only.credits == 2


def test_without_claimants_nothing_is_reserved():
    assert Credits().reserve(10) == []


def test_credits_that_found_no_job_come_back():
    line = Credits()
    first, second = claimants(2)
    line.add(first, 2)
    line.add(second, 2)
    reserved = line.reserve(10)
    shares = line.spend(reserved, jobs(1, 2, 3))
    assert [[job.job_id for job in shares[claimant]] for claimant in (first, second)] == [[1, 3], [2]]
    assert (first.credits, second.credits, line.waiting()) == (0, 1, [second])


def test_a_claimant_that_got_nothing_has_an_empty_share():
    line = Credits()
    (only,) = claimants(1)
    line.add(only, 2)
    assert line.spend(line.reserve(10), NOTHING) == {only: NOTHING}
    assert only.credits == 2


def test_a_claimant_that_got_a_job_goes_to_the_end_of_the_line():
    line = Credits()
    first, second = claimants(2)
    line.add(first, 5)
    line.add(second, 5)
    line.spend(line.reserve(1), jobs(1))
    assert line.waiting() == [second, first]


def test_a_claimant_that_asks_again_keeps_its_place():
    line = Credits()
    first, second = claimants(2)
    line.add(first, 1)
    line.add(second, 1)
    line.add(first, 1)
    assert line.waiting() == [first, second]


def test_a_claimant_that_is_gone_gets_no_credits_back():
    line = Credits()
    (only,) = claimants(1)
    line.add(only, 2)
    reserved = line.reserve(1)
    line.remove(only)
    line.give_back(reserved)
    assert (only.credits, line.waiting(), only.gone) == (0, [], True)


@given(st.lists(st.integers(1, 20), min_size=1, max_size=6), st.integers(1, 40), st.integers(0, 40))
def test_no_credit_is_lost_and_none_is_made(counts: list[int], limit: int, found: int):
    line = Credits()
    waiting = claimants(len(counts))
    for claimant, count in zip(waiting, counts, strict=True):
        line.add(claimant, count)
    reserved = line.reserve(limit)
    assert len(reserved) == min(limit, sum(counts))
    found = min(found, len(reserved))
    shares = line.spend(reserved, jobs(*range(found)))
    for claimant, count in zip(waiting, counts, strict=True):
        assert claimant.credits + len(shares.get(claimant, [])) == count
        assert (claimant in line.waiting()) == (claimant.credits > 0)


@given(st.lists(st.integers(1, 20), min_size=2, max_size=6), st.integers(1, 40))
def test_shares_differ_by_one_at_most_unless_a_claimant_wants_less(counts: list[int], limit: int):
    line = Credits()
    waiting = claimants(len(counts))
    for claimant, count in zip(waiting, counts, strict=True):
        line.add(claimant, count)
    reserved = sessions(line.reserve(limit))
    shares = [reserved.count(claimant.session) for claimant in waiting]
    for share, count in zip(shares, counts, strict=True):
        assert share == count or share >= max(shares) - 1


def test_claimants_of_one_holder_share_its_room_and_the_others_have_their_turns():
    short = []
    holder = Holder("a", 3, lambda: short.append(1))
    line = Credits()
    first, second = (Claimant(session, 30, lambda _: None, holder=holder) for session in (0, 1))
    other = Claimant(2, 30, lambda _: None)
    for claimant in (first, second, other):
        line.add(claimant, 4)
    reserved = line.reserve(100)
    assert sessions(reserved) == [0, 1, 2, 0, 2, 2, 2]
    assert (holder.room, first.credits, second.credits) == (0, 2, 3)
    assert short
    assert not line.can_claim()
    assert line.reserve(100) == []
    line.spend(reserved, jobs(7, 8))
    assert (holder.room, holder.held) == (1, {0: 1, 1: 1})
    line.remove(second)
    line.give_back(line.reserve(100))
    assert (holder.room, first.credits, line.waiting()) == (1, 3, [first, other])
    holder.let_go({0: 1, 1: 1}, {1: 1})
    assert (holder.room, holder.held) == (2, {1: 1})
