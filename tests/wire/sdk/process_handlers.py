"""Handlers for processes, in a module that a process imports quickly."""

import asyncio
import os
import signal
import time

from thumbq import Job, Thumbnail, report_progress


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
