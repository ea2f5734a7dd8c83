"""Client of thumbq, a durable queue that hands thumbnail jobs to workers."""

from thumbq.client.batches import Enqueued
from thumbq.client.blocking import BlockingClient
from thumbq.client.client import Client
from thumbq.client.errors import (
    AccessDenied,
    Conflict,
    InvalidJob,
    InvalidRequest,
    NotFound,
    ThumbqError,
    Unavailable,
    Unsuccessful,
    Unsupported,
)
from thumbq.client.plain import Answer, JobEvent, JobInfo, Picture, Request, hash_file
from thumbq.options import options_of
from thumbq.outcome import JobFailed, JobReleased, Thumbnail
from thumbq.producer import JobNotFound, Producer
from thumbq.subscriber import Reset, Subscriber
from thumbq.tls import Tls, UnusableCertificate
from thumbq.v1.job_pb2 import Job, JobStatus, ThumbnailStatus
from thumbq.v1.notification_pb2 import JobProgress, Notification, ResetReason
from thumbq.v1.queue_pb2 import EnqueueOutcome, NewJob
from thumbq.worker import Worker
from thumbq.working.handler import Handler
from thumbq.working.progress import report_progress
from thumbq.working.threads import is_cancelled

__all__ = [
    "AccessDenied",
    "Answer",
    "BlockingClient",
    "Client",
    "Conflict",
    "EnqueueOutcome",
    "Enqueued",
    "Handler",
    "InvalidJob",
    "InvalidRequest",
    "Job",
    "JobEvent",
    "JobFailed",
    "JobInfo",
    "JobNotFound",
    "JobProgress",
    "JobReleased",
    "JobStatus",
    "NewJob",
    "NotFound",
    "Notification",
    "Picture",
    "Producer",
    "Request",
    "Reset",
    "ResetReason",
    "Subscriber",
    "Thumbnail",
    "ThumbnailStatus",
    "ThumbqError",
    "Tls",
    "Unavailable",
    "Unsuccessful",
    "Unsupported",
    "UnusableCertificate",
    "Worker",
    "hash_file",
    "is_cancelled",
    "options_of",
    "report_progress",
]
