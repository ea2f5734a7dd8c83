"""A subscriber follows the notifications without a gap, over broken connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from types import TracebackType
from typing import NamedTuple, Self

import grpc

from thumbq.client.errors import checked, error_of
from thumbq.connection import Link, RenewedChannel, describe, task_is_cancelled, told_to_wait
from thumbq.tls import Tls
from thumbq.v1.job_pb2 import ThumbnailStatus
from thumbq.v1.notification_pb2 import (
    GetNotificationCursorRequest,
    JobProgress,
    Notification,
    ResetReason,
    SubscribeRequest,
)
from thumbq.v1.notification_pb2_grpc import NotificationServiceStub

_TRANSIENT = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}


class Reset(NamedTuple):
    """The log no longer reaches back to the subscriber's cursor: load again what you show, then continue."""

    cursor: str
    reason: ResetReason.ValueType


class Subscriber:
    """Yields each notification of some models and statuses (or of all), in order and at least once, after a cursor.

        async with Subscriber("localhost:50051", model_ids=[7]) as subscriber:
            async for item in subscriber:
                print(item)

    `after` is a cursor, "latest" (from the moment of `async with` on) or "earliest". While the server is away,
    the subscriber waits for it without a limit. Other errors raise a ThumbqError. The end of `async with` ends the
    iteration, also in another task.

    `on_progress` is called with the JobProgress of the jobs under way of these models, whatever the statuses are: first
    with what is known, then with what changes. It must return at once. Progress has no cursor and may be lost.
    """

    def __init__(
        self,
        target: str,
        *,
        model_ids: Iterable[int] = (),
        statuses: Iterable[ThumbnailStatus.ValueType] = (),
        after: str = "latest",
        on_progress: Callable[[JobProgress], object] | None = None,
        api_key: str | None = None,
        tls: Tls | None = None,
    ) -> None:
        self._target = target
        self._api_key = api_key
        self._tls = tls
        self._model_ids = list(model_ids)
        self._statuses = list(statuses)
        self._on_progress = on_progress
        self._link = Link(target)
        self._opened: RenewedChannel | None = None
        # Where to continue: everything up to here has been yielded.
        self.cursor = after

    async def __aenter__(self) -> Self:
        self._opened = RenewedChannel(self._target, self._api_key, self._tls)
        if self.cursor in ("", "latest"):
            self.cursor = await self._latest_cursor(self._opened)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        opened, self._opened = self._opened, None
        if opened:
            await opened.close()

    async def __aiter__(self) -> AsyncIterator[Notification | Reset]:
        opened = self._opened
        if opened is None:
            raise RuntimeError("not connected: use it inside `async with`")
        # Until another task closes it.
        while self._opened is opened:
            request = checked(
                SubscribeRequest,
                model_ids=self._model_ids,
                statuses=self._statuses,
                after=self.cursor,
                progress=self._on_progress is not None,
            )
            call = NotificationServiceStub(opened.channel).Subscribe(request)
            try:
                async for response in call:
                    self._link.up()
                    if response.reset:
                        self.cursor = response.cursor
                        yield Reset(response.cursor, response.reset_reason)
                    for notification in response.notifications:
                        self.cursor = notification.cursor
                        yield notification
                    self.cursor = response.cursor
                    self._tell(response.progress)
                reason = "it ended the stream"
                told = 0.0
            except grpc.aio.AioRpcError as error:
                reason, told = self._reason_to_wait(opened, error), told_to_wait(error)
            except asyncio.CancelledError:
                if self._opened is opened or task_is_cancelled():
                    raise
                return
            finally:
                call.cancel()
            await asyncio.sleep(max(told, self._link.down(reason)))

    def _tell(self, told: Iterable[JobProgress]) -> None:
        if self._on_progress:
            for progress in told:
                self._on_progress(progress)

    async def _latest_cursor(self, opened: RenewedChannel) -> str:
        """Turn "latest" into a cursor, so that nothing is missed if the first connection breaks."""
        while True:
            try:
                stub = NotificationServiceStub(opened.channel)
                response = await stub.GetNotificationCursor(GetNotificationCursorRequest(), timeout=10)
                return response.cursor
            except grpc.aio.AioRpcError as error:
                reason, told = self._reason_to_wait(opened, error), told_to_wait(error)
            await asyncio.sleep(max(told, self._link.down(reason)))

    def _reason_to_wait(self, opened: RenewedChannel, error: grpc.aio.AioRpcError) -> str:
        has_new_key = opened.renew() and error.code() is grpc.StatusCode.UNAUTHENTICATED
        if error.code() not in _TRANSIENT and not has_new_key:
            raise error_of(error, self._target) from None
        return describe(error, self._target)
