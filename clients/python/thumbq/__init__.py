"""Client of thumbq, a durable queue that hands thumbnail jobs to workers."""

from thumbq.outcome import JobFailed, JobReleased, Thumbnail
from thumbq.producer import Enqueued, JobNotFound, Producer
from thumbq.subscriber import Reset, Subscriber
from thumbq.v1.job_pb2 import Job, JobStatus, ThumbnailStatus
from thumbq.v1.notification_pb2 import Notification, ResetReason
from thumbq.v1.queue_pb2 import EnqueueOutcome, NewJob
from thumbq.worker import Worker
from thumbq.working.handler import Handler
from thumbq.working.threads import is_cancelled

__all__ = [
    "EnqueueOutcome",
    "Enqueued",
    "Handler",
    "Job",
    "JobFailed",
    "JobNotFound",
    "JobReleased",
    "JobStatus",
    "NewJob",
    "Notification",
    "Producer",
    "Reset",
    "ResetReason",
    "Subscriber",
    "Thumbnail",
    "ThumbnailStatus",
    "Worker",
    "is_cancelled",
]
