"""The sentence in which `thumbq job` explains why a job waits or how it ended."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from thumbq import Job, JobStatus
from thumbq.cli.formatting import format_duration
from thumbq.cli.waiting import QueueState, explain
from thumbq.v1.admin_pb2 import WorkerInfo

NOW = datetime.now(UTC)


def stamp(moment: datetime) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromDatetime(moment)
    return timestamp


def pending(due_in: float, attempt_count: int = 0) -> Job:
    return Job(
        status=JobStatus.JOB_STATUS_PENDING,
        run_at=stamp(NOW + timedelta(seconds=due_in)),
        attempt_count=attempt_count,
        max_attempts=3,
    )


@pytest.mark.parametrize(
    ("job", "queue", "sentence"),
    [
        (pending(65, 1), QueueState(), r"Attempt 1 of 3 failed; the next is due at .*, in 1 min 5 s\."),
        (pending(8), QueueState(), r"It was enqueued with a delay, and is due at .*, in 8 s\."),
        (pending(-1), QueueState(), r"It is due, and waits for a worker with a free slot\."),
        (pending(-1), QueueState(paused=True, workers=[]), r"It is due, but the queue is paused\."),
        (pending(-1), QueueState(paused=False, workers=[]), r"It is due, but no worker is connected\."),
        (
            pending(-1),
            QueueState(workers=[WorkerInfo()]),
            r"It is due, and waits until the worker has a free slot\.",
        ),
        (
            pending(-1),
            QueueState(paused=False, workers=[WorkerInfo(), WorkerInfo()]),
            r"It is due, and waits until one of 2 workers has a free slot\.",
        ),
        (
            Job(
                status=JobStatus.JOB_STATUS_PROCESSING,
                worker_id="render-1",
                attempt_count=2,
                max_attempts=3,
                lease_expires_at=stamp(NOW),
            ),
            QueueState(),
            r"Worker render-1 is at work on it \(attempt 2 of 3\); its lease runs until .*\.",
        ),
        (
            Job(status=JobStatus.JOB_STATUS_COMPLETED, finished_at=stamp(NOW)),
            QueueState(),
            r"It was completed at .*\.",
        ),
        (
            Job(status=JobStatus.JOB_STATUS_FAILED, finished_at=stamp(NOW), attempt_count=3, max_attempts=3),
            QueueState(),
            r"It failed for good at .*, after attempt 3 of 3\.",
        ),
        (
            Job(status=JobStatus.JOB_STATUS_CANCELLED, finished_at=stamp(NOW)),
            QueueState(),
            r"It was cancelled at .*\.",
        ),
    ],
)
def test_one_sentence_says_why(job: Job, queue: QueueState, sentence: str):
    assert re.fullmatch(sentence, explain(job, NOW, queue))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0 s"), (0.4, "0 s"), (59.6, "1 min"), (185, "3 min 5 s"), (7800, "2 h 10 min"), (86_400, "1 d")],
)
def test_a_length_of_time_shows_its_two_largest_units(seconds: float, text: str):
    assert format_duration(timedelta(seconds=seconds)) == text
