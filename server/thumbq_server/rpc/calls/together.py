"""CallTogether: many single calls in one message, each with its own answer."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from thumbq.v1.queue_pb2 import CallTogetherRequest, CallTogetherResponse
from thumbq_runtime.limits.rates import TooOften
from thumbq_server.access.door import caller_of_call
from thumbq_server.access.keyring import GATEWAY
from thumbq_server.domain.refusals import Invalid
from thumbq_server.domain.requests import MAX_TOGETHER, check_batch
from thumbq_server.rpc.calls.single import SingleCalls
from thumbq_server.rpc.codec.times import timedelta_of
from thumbq_server.rpc.counted import count_for
from thumbq_server.rpc.errors import status_of_any

_METHOD = "/thumbq.v1.QueueService/CallTogether"
Call = CallTogetherRequest.Call
Answer = CallTogetherResponse.Answer


class Together:
    """Runs calls side by side, so that the queue puts those of one kind into one statement."""

    def __init__(self, calls: SingleCalls) -> None:
        self._give_back = calls.give_back
        self._verbs: Mapping[str, Callable[[Any], Awaitable[Any]]] = {
            "enqueue_job": calls.enqueue_job,
            "dequeue_job": calls.dequeue_job,
            "complete_job": calls.complete_job,
            "fail_job": calls.fail_job,
        }

    async def answer(self, request: CallTogetherRequest) -> CallTogetherResponse:
        """Answer every call. When the caller is gone before that, the jobs in the answers are given back."""
        check_batch(request.calls, "calls", MAX_TOGETHER)
        answering = [asyncio.create_task(self._answer(call)) for call in request.calls]
        try:
            # return_exceptions: a cancelled gather would end with the first call, while others still end.
            await asyncio.gather(*answering, return_exceptions=True)
            return CallTogetherResponse(answers=[task.result() for task in answering])
        except BaseException:
            answers = [task.result() for task in answering if not task.cancelled()]
            self._give_back(answer.dequeue_job.job for answer in answers if answer.dequeue_job.HasField("job"))
            raise

    async def _answer(self, call: Call) -> Answer:
        try:
            if call.caller and caller_of_call() is GATEWAY:
                count_for(call.caller)  # each call has a task, and so a context, of its own
            verb = call.WhichOneof("call")
            if verb is None:
                raise Invalid("a call needs enqueueJob, dequeueJob, completeJob or failJob")
            if timedelta_of(call.dequeue_job.wait):
                raise Invalid("wait must not be set in a call with others")
            return Answer(**{verb: await self._verbs[verb](getattr(call, verb))})
        except Exception as error:  # noqa: BLE001 - it belongs to this call alone
            code, message = status_of_any(_METHOD, error)
            answer = Answer(error=CallTogetherResponse.Error(code=code.value[0], message=message))
            if isinstance(error, TooOften):
                answer.error.retry_after.FromSeconds(error.retry_after)
            return answer
