"""Handlers in processes, without a worker: what a cancellation does that comes at a bad moment."""

from tests.wire.sdk.process_handlers import tells_and_ends
from thumbq import Job
from thumbq.working.processes import Processes
from thumbq.working.progress import told_to
from thumbq.working.threads import Cancellation, current_cancellation


def test_a_cancellation_that_comes_after_the_end_costs_the_next_job_nothing():
    cancellation = Cancellation()

    def cancel_when_it_has_ended(*_progress: object) -> None:
        (child,) = processes._all
        assert child._pipe.poll(60)  # its outcome is on its way
        cancellation.set()

    with Processes(tells_and_ends) as processes, told_to(cancel_when_it_has_ended):
        current_cancellation.set(cancellation)
        assert processes(Job(id=1, lease_token="1-1")).width == 1
        current_cancellation.set(Cancellation())
        with told_to(lambda *_progress: None):
            assert processes(Job(id=2, lease_token="2-1")).width == 2
