"""The names of what this package logs, for programs that read its log; docs/logs.md has them all."""

from __future__ import annotations

from typing import Any

from thumbq.v1.job_pb2 import Job


def event(name: str, job: Job | None = None, **fields: object) -> dict[str, Any]:
    """Return the `extra` of a line of the log: its event, and the job that it is about."""
    about: dict[str, object] = {}
    if job is not None:
        about = {"job_id": job.id, "model_id": job.model_id}
        if job.traceparent:
            about["trace_id"] = job.traceparent[3:35]
    return {"event": name, **about, **fields}
