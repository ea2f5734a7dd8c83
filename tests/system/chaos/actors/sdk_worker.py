"""A worker of the Python SDK that records its work and the answers to its reports.

`python -m tests.system.chaos.actors.sdk_worker NAME ADDRESS JOURNAL SEED CONCURRENCY PREFETCH`
"""

import asyncio
import logging
import sys
from collections.abc import Collection

import thumbq.network
from tests.support.programs import say_ready
from tests.system.chaos.actors.behaviour import FENCED, Ending, behaviour, failure_message, lease_of, picture_path
from tests.system.chaos.actors.journal import ACCEPTED, Pen
from thumbq import Job, JobFailed, JobReleased, Thumbnail, Worker
from thumbq.outbox import Outbox
from thumbq.v1.queue_pb2 import ResultCode, ResultException

VERBS = {Thumbnail: "complete", JobFailed: "fail", type(None): "release"}


def record_acknowledgements(pen: Pen) -> None:
    """Make the SDK's worker use an outbox that records every acknowledgement."""

    class RecordingOutbox(Outbox):
        def acknowledge(self, number: int, exceptions: Collection[ResultException]) -> None:
            refused = {each.lease_token: ResultCode.Name(each.code).removeprefix("RESULT_CODE_") for each in exceptions}
            for token, ending in self._sent.get(number, ()):
                verb = VERBS[type(ending)]
                if code := refused.get(token):
                    pen.write("refused", lease_of(token), verb, FENCED, code)
                else:
                    pen.write(ACCEPTED, lease_of(token), verb, FENCED)
            super().acknowledge(number, exceptions)

    setattr(thumbq.network, "Outbox", RecordingOutbox)  # noqa: B010 - the module does not export it


async def main(name: str, address: str, journal: str, seed: int, concurrency: int, prefetch: int) -> None:
    pen = Pen(journal)
    record_acknowledgements(pen)

    async def handler(job: Job) -> Thumbnail:
        token = lease_of(job.lease_token)
        pen.write("start", token, job.attempt_count)
        plan = behaviour(seed, token)
        try:
            await asyncio.sleep(plan.seconds)
        except asyncio.CancelledError:
            pen.write("cancelled", token)
            raise
        pen.write("result", token, plan.ending.value)
        match plan.ending:
            case Ending.COMPLETE:
                return Thumbnail(picture_path(FENCED, token), 1000, 16, 16)
            case Ending.RELEASE:
                raise JobReleased
            case _:
                retryable = plan.ending is not Ending.FAIL_FOR_GOOD
                raise JobFailed(failure_message(FENCED, token), retryable=retryable)

    async with Worker(address, worker_id=name, concurrency=concurrency, prefetch=prefetch, grace=4.0) as worker:
        say_ready()
        pen.write("begun")
        await worker.run(handler)
    pen.write("ended")


if __name__ == "__main__":
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    _, name, address, journal, *numbers = sys.argv
    asyncio.run(main(name, address, journal, *map(int, numbers)))
