"""Subscribers that note what they see: one on a gRPC stream, and one as a page reads it."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import grpc

from tests.support.network.http_client import Client
from tests.support.waiting import eventually
from thumbq.v1 import notification_pb2, notification_pb2_grpc


class Subscriber(ABC):
    """A subscriber of all models, and the resets and models that it has seen."""

    def __init__(self) -> None:
        self.resets: list[str] = []
        self.models: list[int] = []
        self.cursor = ""

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[None]:
        """Read until the block ends. A stream that broke before fails the test."""
        task = asyncio.create_task(self._read())
        try:
            yield
            assert not task.done(), "the stream ended"
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def is_there(self) -> None:
        await eventually(self._is(lambda: self.cursor != ""), timeout=30)

    async def is_reset(self, times: int = 1) -> None:
        await eventually(self._is(lambda: len(self.resets) >= times), timeout=30)

    async def sees(self, model_id: int) -> None:
        await eventually(self._is(lambda: model_id in self.models), timeout=30)

    @staticmethod
    def _is(condition: Callable[[], bool]) -> Callable[[], Awaitable[bool]]:
        async def check() -> bool:
            return condition()

        return check

    @abstractmethod
    async def _read(self) -> None: ...


class StreamSubscriber(Subscriber):
    """A subscriber on a gRPC stream."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        super().__init__()
        self._notifications = notification_pb2_grpc.NotificationServiceStub(channel)

    async def _read(self) -> None:
        call = self._notifications.Subscribe(notification_pb2.SubscribeRequest())
        try:
            async for response in call:
                self.cursor = response.cursor
                if response.reset:
                    reason = notification_pb2.ResetReason.Name(response.reset_reason)
                    self.resets.append(reason.removeprefix("RESET_REASON_"))
                self.models += [notification.model_id for notification in response.notifications]
        finally:
            call.cancel()


class PageSubscriber(Subscriber):
    """A subscriber that reads server-sent events."""

    def __init__(self, client: Client) -> None:
        super().__init__()
        self._client = client

    async def _read(self) -> None:
        async with self._client.listen() as page:
            while True:
                frame = await page.frame()
                self.cursor = frame.fields.get("id", self.cursor)
                if frame.name == "reset":
                    self.resets.append(frame.data["reason"])
                elif frame.name == "thumbnail":
                    self.models.append(frame.data["modelId"])


async def when_it_is_back(call: Callable[[], Awaitable[Any]]) -> Any:
    """Repeat a call until the database is back, as clients do."""

    async def attempt() -> Any:
        try:
            return await call()
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            return None

    return await eventually(attempt, timeout=30)
