"""The rates that `thumbq top` shows, from the minutes that a server tells."""

from datetime import UTC, datetime, timedelta

from thumbq.cli.operating.top_view import Seen, line
from thumbq.v1.admin_pb2 import GetStatsResponse

NOW = datetime(2026, 5, 4, 12, 30, 20, tzinfo=UTC)


def shown(*ages: int) -> str:
    """Return the line of a look at minutes that are so many minutes old, with as many completed jobs and one more."""
    stats = GetStatsResponse()
    for age in ages:
        row = stats.minutes.add(completed=age + 1)
        row.minute.FromDatetime(NOW.replace(second=0) - timedelta(minutes=age))
    return line(Seen("queue:50051", stats, at=NOW))


def test_the_rate_is_that_of_the_last_full_minute():
    assert "completed 2/min" in shown(0, 1, 2)


def test_a_queue_that_stopped_two_minutes_ago_has_no_rate():
    assert "completed 0/min" in shown(2, 3)


def test_a_queue_that_has_just_begun_has_no_rate_yet():
    assert "completed 0/min" in shown(0)
