"""A bucket for each caller."""

from thumbq_runtime.limits.buckets import BURST_SECONDS, Buckets


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def taken(buckets: Buckets, caller: str = "10.0.0.1") -> int:
    count = 0
    while not buckets.take(caller):
        count += 1
    return count


def test_a_caller_has_its_burst_and_then_its_rate() -> None:
    clock = Clock()
    buckets = Buckets(4.0, clock)
    assert taken(buckets) == 4 * BURST_SECONDS
    assert 0 < buckets.take("10.0.0.1") <= 0.25
    clock.now += 1.0
    assert taken(buckets) == 4
    clock.now += 3600.0
    assert taken(buckets) == 4 * BURST_SECONDS


def test_the_time_that_a_caller_is_told_is_the_time_when_it_is_taken() -> None:
    clock = Clock()
    buckets = Buckets(3.0, clock)
    taken(buckets)
    clock.now += buckets.take("10.0.0.1")
    assert buckets.take("10.0.0.1") == 0


def test_every_caller_has_a_bucket_of_its_own() -> None:
    buckets = Buckets(4.0, Clock())
    taken(buckets)
    assert taken(buckets, "10.0.0.2") == 4 * BURST_SECONDS


def test_a_token_that_is_given_back_can_be_taken_again() -> None:
    buckets = Buckets(4.0, Clock())
    taken(buckets)
    buckets.give_back("10.0.0.1")
    assert taken(buckets) == 1


def test_a_rate_of_less_than_a_call_in_the_burst_still_has_one() -> None:
    assert taken(Buckets(0.001, Clock())) == 1


def test_a_rate_of_zero_limits_nothing() -> None:
    buckets = Buckets(0.0, Clock())
    assert not any(buckets.take("10.0.0.1") for _ in range(10_000))


def test_a_flood_of_callers_takes_bounded_memory_and_forgets_whose_bucket_is_full() -> None:
    clock = Clock()
    buckets = Buckets(1.0, clock)
    taken(buckets, "greedy")
    for number in range(30_000):
        buckets.take(str(number))
    assert len(buckets._full_at) <= 20_000
    assert buckets.take("greedy") > 0  # its bucket is the emptiest, so it is not the one that is forgotten


def test_one_look_through_all_callers_makes_room_for_many() -> None:
    clock = Clock()
    buckets = Buckets(1.0, clock)
    buckets.take("the only one whose bucket is full")
    clock.now += 1.5
    for number in range(19_999):
        buckets.take(str(number))
    buckets.take("one more")
    assert len(buckets._full_at) == 18_001


def test_a_name_of_any_length_is_one_caller_and_takes_little_memory() -> None:
    buckets = Buckets(4.0, Clock())
    for number in range(10):
        name = f"10.0.0.{number} {'a' * 1_000_000}"
        assert taken(buckets, name) == 4 * BURST_SECONDS
        buckets.give_back(name)
        assert taken(buckets, name) == 1
    assert sum(map(len, buckets._full_at)) < 10_000


def test_the_first_token_is_there_at_any_time_of_day() -> None:
    clock = Clock()
    for _ in range(1_000):
        clock.now += 0.1234567
        assert Buckets(0.001, clock).take("10.0.0.1") == 0.0
