"""Which jobs of a stream are known to have arrived."""

from datetime import UTC, datetime

from thumbq_server.domain.columns import Claimed
from thumbq_server.domain.job import Token
from thumbq_server.engine.sessions.deliveries import Deliveries

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def jobs(*job_ids: int) -> Claimed:
    return Claimed(1, NOW, job_ids, job_ids, bytes(32 * len(job_ids)), [NOW], [1], [0], [3], [0])


def test_messages_are_numbered_from_one():
    deliveries = Deliveries(lease=10)
    assert [deliveries.add(jobs(1)), deliveries.add(jobs(2))] == [1, 2]


def test_jobs_have_not_arrived_until_their_message_is_confirmed():
    deliveries = Deliveries(lease=10)
    deliveries.add(jobs(1, 2))
    assert deliveries.unreceived() == [Token(1, 1), Token(2, 1)]
    deliveries.confirm(1)
    assert deliveries.unreceived() == []


def test_a_confirmation_is_also_one_for_the_messages_before():
    deliveries = Deliveries(lease=10)
    for number in (1, 2, 3):
        deliveries.add(jobs(number))
    deliveries.confirm(2)
    assert deliveries.unreceived() == [Token(3, 1)]


def test_a_heartbeat_that_names_a_job_confirms_that_job_alone():
    deliveries = Deliveries(lease=10)
    deliveries.add(jobs(1, 2))
    deliveries.confirm_jobs([Token(1, 1)])
    assert deliveries.unreceived() == [Token(2, 1)]


def test_a_heartbeat_with_another_lease_confirms_nothing():
    deliveries = Deliveries(lease=10)
    deliveries.add(jobs(1))
    deliveries.confirm_jobs([Token(1, 2)])
    assert deliveries.unreceived() == [Token(1, 1)]


def test_what_is_confirmed_is_forgotten():
    deliveries = Deliveries(lease=10)
    deliveries.add(jobs(1))
    deliveries.confirm_jobs([Token(1, 1)])
    deliveries.confirm(1)
    deliveries.confirm(7)
    assert not deliveries._unconfirmed
    assert not deliveries._named


def test_messages_that_nobody_confirms_are_forgotten_when_their_leases_have_run_out():
    time = 0.0
    deliveries = Deliveries(lease=10, clock=lambda: time)
    for number in range(1, 10_001):
        deliveries.add(jobs(number))
        deliveries.confirm_jobs([Token(number, 1)])
        time += 1
    assert len(deliveries._unconfirmed) == len(deliveries._tokens) == len(deliveries._named) == 10
    assert deliveries.add(jobs(10_001)) == 10_001
    assert deliveries.unreceived() == [Token(10_001, 1)]


def test_a_message_is_kept_as_long_as_its_leases_last():
    time = 0.0
    deliveries = Deliveries(lease=10, clock=lambda: time)
    deliveries.add(jobs(1))
    time = 9.9
    deliveries.add(jobs(2))
    assert deliveries.unreceived() == [Token(1, 1), Token(2, 1)]
