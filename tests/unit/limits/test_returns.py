"""When refused callers may return: remembered as long as it matters, in bounded memory, without a look through all."""

from tests.unit.limits.test_buckets import Clock
from thumbq_runtime.limits.rates import Kind, Returns


def test_what_a_caller_was_told_counts_for_its_whole_minute() -> None:
    clock = Clock()
    returns = Returns(clock)
    told = Kind.READS, "10.0.0.1"
    for _ in range(5):
        clock.now += 37.0
        returns.remember((Kind.POLLS, "another"), 1.0)
        returns.remember(told, 60.0)
        until = clock.now + 60.0
        for _ in range(59):
            clock.now += 1.0
            returns.remember((Kind.POLLS, "another"), 1.0)
            assert returns.after(told) == until
    assert returns.after((Kind.POLLS, "10.0.0.1")) == 0.0


def test_a_shorter_time_does_not_replace_a_longer_one() -> None:
    clock = Clock()
    returns = Returns(clock)
    told = Kind.READS, "10.0.0.1"
    returns.remember(told, 60.0)
    returns.remember(told, 1.0)
    assert returns.after(told) == clock.now + 60.0


def test_a_flood_of_callers_takes_bounded_memory_and_the_newest_are_remembered() -> None:
    clock = Clock()
    returns = Returns(clock)
    for number in range(100_000):
        returns.remember((Kind.READS, str(number)), 60.0)
        assert returns.after((Kind.READS, str(max(0, number - 15_000)))) > clock.now
    assert len(returns._page) + len(returns._page_before) <= 40_000


def test_a_name_of_any_length_is_remembered_and_takes_little_memory() -> None:
    clock = Clock()
    returns = Returns(clock)
    told = Kind.WORKER_POLLS, f"10.0.0.1 {'a' * 1_000_000}"
    returns.remember(told, 60.0)
    assert returns.after(told) == clock.now + 60.0
    assert sum(len(name) for _, name in returns._page) < 1_000
