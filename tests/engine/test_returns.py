"""Jobs that come back without having arrived."""

from thumbq_server.domain.job import Token
from thumbq_server.engine.sessions.returns import FREE_RETURNS, Returns


def come_back(returns: Returns, worker_id: str, job_id: int) -> bool:
    """Return whether this costs an attempt."""
    unspent, failed = returns.sort(worker_id, [Token(job_id, 1)])
    assert len(unspent) + len(failed) == 1
    return bool(failed)


def test_the_third_return_from_the_same_worker_costs_an_attempt_and_counting_begins_again():
    returns = Returns()
    assert [come_back(returns, "w", 7) for _ in range(6)] == [False, False, True, False, False, True]


def test_each_job_and_each_worker_is_counted_apart():
    returns = Returns()
    for _ in range(FREE_RETURNS):
        assert not any(come_back(returns, worker, job) for worker in ("v", "w") for job in (7, 8))
    assert come_back(returns, "w", 7)
    assert not come_back(returns, "x", 7)


def test_the_message_names_the_worker():
    returns = Returns()
    for _ in range(FREE_RETURNS):
        come_back(returns, "w", 7)
    _, (failure,) = returns.sort("w", [Token(7, 5)])
    assert (failure.job_id, failure.lease_seq, failure.retryable) == (7, 5, True)
    assert failure.error_message.startswith("Worker w was sent the job 3 times and never confirmed it")


def test_a_limited_number_of_counts_is_kept():
    returns = Returns(known=2)
    come_back(returns, "w", 1)
    come_back(returns, "w", 2)
    come_back(returns, "w", 3)  # the first is forgotten
    come_back(returns, "w", 1)
    assert not come_back(returns, "w", 1)


def test_nothing_is_counted_on_in_another_history():
    returns = Returns()
    for _ in range(FREE_RETURNS):
        come_back(returns, "w", 7)
    returns.forget()
    assert not come_back(returns, "w", 7)
