"""Calls that wait for a server that is away, and raise this package's exceptions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from types import TracebackType
from typing import Self, TypeVar

import grpc

from thumbq.client.errors import ThumbqError, Unavailable, checked, error_of
from thumbq.connection import Backoff, RenewedChannel, task_is_cancelled, told_to_wait
from thumbq.tls import Tls
from thumbq.v1.admin_pb2_grpc import AdminServiceStub
from thumbq.v1.job_pb2 import Job, JobStatus
from thumbq.v1.notification_pb2_grpc import NotificationServiceStub
from thumbq.v1.queue_pb2 import GetJobRequest, GetJobResponse
from thumbq.v1.queue_pb2_grpc import QueueServiceStub

# A stopping server cancels the calls that it has not answered.
AWAY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
# A key or a certificate may have been replaced since the channel was opened.
_MAY_BE_OLD = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAUTHENTICATED)
# The longest wait of one GetJob call, in seconds.
_WAIT_LIMIT = 30.0
_UNENDED = (JobStatus.JOB_STATUS_PENDING, JobStatus.JOB_STATUS_PROCESSING)

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")


class Stubs:
    """The services of a server, over one channel."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.queue = QueueServiceStub(channel)
        self.notifications = NotificationServiceStub(channel)
        self.admin = AdminServiceStub(channel)


class Calls:
    """A channel that is open within `async with`. `timeout`: seconds in which a call has to succeed."""

    def __init__(self, target: str, timeout: float, api_key: str | None = None, tls: Tls | None = None) -> None:
        self.target = target
        self._api_key = api_key
        self._tls = tls
        self.timeout = timeout
        self._opened: RenewedChannel | None = None
        self._stubs: Stubs | None = None

    async def __aenter__(self) -> Self:
        self._opened = RenewedChannel(self.target, self._api_key, self._tls)
        self._stubs = Stubs(self._opened.channel)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        opened, self._opened, self._stubs = self._opened, None, None
        if opened:
            await opened.close()

    @property
    def stubs(self) -> Stubs:
        """The services of the server. Raises RuntimeError outside `async with`."""
        if self._stubs is None:
            raise RuntimeError("not connected: use it inside `async with` (or `with`, if it blocks)")
        return self._stubs

    def renew(self, failed: Stubs, code: grpc.StatusCode) -> Stubs | None:
        """Return services over a channel with newer files than that on which a call failed, if there are such."""
        if code not in _MAY_BE_OLD or self._opened is None:
            return None
        if self._opened.renew():
            self._stubs = Stubs(self._opened.channel)
        return None if self._stubs is failed else self._stubs

    async def call(
        self,
        method: Callable[[Stubs], grpc.aio.UnaryUnaryMultiCallable[_Request, _Response]],
        request: _Request,
        wait: float = 0,
        invalid: type[ThumbqError] | None = None,
    ) -> _Response:
        """Call, and try again while the server is away; an answer may take `wait` seconds longer.

        A server that goes away within the wait is waited for as well.
        A call that comes too often is repeated when the server allows it.
        `method` is called before each attempt.

        Raises ThumbqError; INVALID_ARGUMENT is raised as `invalid`, if that is given.
        """
        stubs = self.stubs
        ends = monotonic() + self.timeout + wait
        backoff = Backoff(limit=1.0)
        while True:
            try:
                return await method(stubs)(request, timeout=min(self.timeout, max(ends - monotonic(), 0.1)) + wait)
            except grpc.aio.AioRpcError as error:
                told = told_to_wait(error)
                pause = told or backoff.pause()
                renewed = self.renew(stubs, error.code())
                may_succeed = renewed or error.code() in AWAY or told
                if not may_succeed or monotonic() + pause >= ends:
                    raise error_of(error, self.target, invalid) from None
                stubs = renewed or stubs
            except (asyncio.CancelledError, grpc.aio.UsageError):
                if self._opened or task_is_cancelled():
                    raise
                # gRPC cancels the calls of a channel that is closed, and begins no other.
                raise Unavailable(f"{self.target}: the client was closed") from None
            await asyncio.sleep(pause)


async def read_job(calls: Calls, job_id: int, wait: float) -> Job:
    """Return a job; with `wait`, when it has ended or the time is up. Raises NotFound."""
    ends = monotonic() + wait
    request = checked(GetJobRequest, job_id=job_id)

    def left() -> float:
        return min(max(ends - monotonic(), 0.0), _WAIT_LIMIT)

    def get_job(stubs: Stubs) -> grpc.aio.UnaryUnaryMultiCallable[GetJobRequest, GetJobResponse]:
        # An outage before this attempt may have taken most of the time.
        request.wait.FromMilliseconds(round(left() * 1000))
        return stubs.queue.GetJob

    while True:
        job = (await calls.call(get_job, request, left())).job
        if job.status not in _UNENDED or monotonic() >= ends:
            return job
