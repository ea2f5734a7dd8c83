"""Handlers for processes, in a module that a process imports quickly."""

import asyncio
import os
import signal
import time

from thumbq import Job, JobFailed, Thumbnail, report_progress


def pid_as_width(job: Job) -> Thumbnail:
    if job.model_id == 2:
        raise ValueError("no model")
    if job.model_id == 3:
        os.kill(os.getpid(), signal.SIGSEGV)
    return Thumbnail("/thumbnails/a.png", 1, os.getpid(), 1)


async def pid_as_width_async(job: Job) -> Thumbnail:
    await asyncio.sleep(0)
    return pid_as_width(job)


def tells_and_hangs(job: Job) -> Thumbnail:
    report_progress(job, 0.5, "in a process")
    time.sleep(3600)
    return pid_as_width(job)


def tells_and_ends(job: Job) -> Thumbnail:
    report_progress(job, 0.5)
    return Thumbnail("/thumbnails/a.png", 1, job.id, 1)


class NoMesh(JobFailed):
    """A program's own class, which no pipe can carry."""

    def __init__(self, model_id: int, mesh: str) -> None:
        super().__init__(f"model {model_id} has no {mesh}", retryable=False)


class Unreadable(BaseException):
    """An exception whose text cannot be read."""

    def __str__(self) -> str:
        raise LookupError


def fails_in_its_own_way(job: Job) -> Thumbnail:
    if job.model_id == 1:
        raise NoMesh(1, "leg")
    if job.model_id == 2:
        raise Unreadable
    return Thumbnail("/thumbnails/a.png", 1, 1, 1)


async def fails_in_its_own_way_async(job: Job) -> Thumbnail:
    await asyncio.sleep(0)
    return fails_in_its_own_way(job)
