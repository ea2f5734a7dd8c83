"""The message with the progress of a worker's jobs."""

import asyncio

from thumbq import Job, report_progress
from thumbq.working.progress import ProgressOutbox, told_to

LARGEST_MESSAGE = 4 * 1024 * 1024  # bytes that a server takes


async def test_the_longest_texts_of_many_jobs_fit_into_a_message():
    outbox = ProgressOutbox(asyncio.Event(), asyncio.get_running_loop())
    tokens = [f"{number}-1" for number in range(1, 10_001)]
    with told_to(outbox.tell):
        for token in tokens:
            report_progress(Job(lease_token=token), 0.5, "𓀀" * 200)
    message = outbox.take(tokens)
    assert message is not None
    entries = message.progress.entries
    assert message.ByteSize() < LARGEST_MESSAGE
    assert [entry.lease_token for entry in entries] == tokens
    assert (len(entries[0].text), entries[-1].text) == (200, "")
    assert all(entry.fraction == 0.5 for entry in entries)
