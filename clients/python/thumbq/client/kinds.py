"""Whether a server knows kinds and options of jobs."""

from __future__ import annotations

from collections.abc import Iterable

from thumbq.client.errors import Unsupported
from thumbq.v1.queue_pb2 import EnqueueJobResponse, NewJob


def check_kinds_known(jobs: Iterable[NewJob], answers: Iterable[EnqueueJobResponse]) -> None:
    """Raise Unsupported when a server of an older version has overlooked the kind or the options of a job."""
    for job, answer in zip(jobs, answers, strict=True):
        if (job.kind or job.HasField("options") or job.options_matter) and not answer.kinds_known:
            raise Unsupported(
                "the server does not know kinds and options of jobs, and has taken the jobs as Models without options;"
                f" job {answer.job_id} is one of them: cancel them, and upgrade the server"
            )
