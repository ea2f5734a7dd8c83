"""What a caller has at the same time is counted until it is given up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thumbq_runtime.limits.bounds import Bounds, Place, TooMany
from thumbq_runtime.limits.rates import Kind

MOST = {Kind.STREAMS: 3, Kind.WORK_STREAMS: 2, Kind.SUBSCRIPTIONS: 2}
WORK, PAGE = (Kind.STREAMS, Kind.WORK_STREAMS), (Kind.STREAMS, Kind.SUBSCRIPTIONS)


def test_a_caller_has_as_many_of_each_kind_as_it_may_have_and_is_told_the_setting() -> None:
    refused: list[tuple[Kind, str]] = []
    bounds = Bounds(MOST, lambda *who: refused.append(who))
    first, _ = bounds.take("a", *WORK), bounds.take("a", *WORK)
    with pytest.raises(TooMany, match=r"2 streams of workers.*THUMBQ_WORK_STREAMS_OF_ADDRESS.*after 5 s"):
        bounds.take("a", *WORK)
    bounds.take("a", *PAGE)
    with pytest.raises(TooMany, match=r"3 streams, as many as it may have \(THUMBQ_STREAMS_OF_ADDRESS\)"):
        bounds.take("a", *PAGE)
    bounds.take("b", *PAGE)
    first.give_up()
    bounds.take("a", *WORK)
    assert refused == [(Kind.WORK_STREAMS, "a"), (Kind.STREAMS, "a")]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([WORK, PAGE]), st.integers(0, 20))))
def test_whatever_is_taken_refused_and_given_up_nothing_stays_counted(
    steps: list[tuple[str, tuple[Kind, ...], int]],
) -> None:
    bounds = Bounds(MOST, lambda *_: None)
    places: list[Place] = []
    for caller, kinds, at in steps:
        try:
            places.append(bounds.take(caller, *kinds))
        except TooMany:
            places[at % len(places)].give_up()
            places[at % len(places)].give_up()
    for place in places:
        with place:
            pass
    assert len(bounds) == 0
