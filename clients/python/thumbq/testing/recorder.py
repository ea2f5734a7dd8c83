"""Records the notifications that pages would get."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack, suppress
from types import TracebackType
from typing import Self

from thumbq.client.plain import ThumbnailStatusWord
from thumbq.subscriber import Reset, Subscriber
from thumbq.v1.job_pb2 import ThumbnailStatus
from thumbq.v1.notification_pb2 import Notification


class Recorder:
    """Everything that is announced from `async with` on, of some models or of all.

    async with Recorder(service.address, model_ids=[7]) as recorder:
        ...
        await recorder.status(7, "Ready")
    """

    def __init__(self, address: str, *, model_ids: Iterable[int] = ()) -> None:
        self._subscriber = Subscriber(address, model_ids=model_ids)
        self._stack = AsyncExitStack()
        self._changed = asyncio.Condition()
        self.notifications: list[Notification] = []

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._subscriber)
        self._task = asyncio.create_task(self._record())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        await self._stack.aclose()

    async def first(self, matches: Callable[[Notification], bool], *, timeout: float = 10.0) -> Notification:
        """Return the first notification that matches, also one that has come already. Raises TimeoutError."""
        async with asyncio.timeout(timeout), self._changed:
            await self._changed.wait_for(lambda: any(map(matches, self.notifications)))
        return next(filter(matches, self.notifications))

    async def status(self, model_id: int, status: ThumbnailStatusWord, *, timeout: float = 10.0) -> Notification:
        """Return the first notification of a model with this status. Raises TimeoutError."""
        number = ThumbnailStatus.Value(f"THUMBNAIL_STATUS_{status.upper()}")
        return await self.first(lambda item: item.model_id == model_id and item.status == number, timeout=timeout)

    async def _record(self) -> None:
        async for item in self._subscriber:
            if isinstance(item, Reset):
                continue
            async with self._changed:
                self.notifications.append(item)
                self._changed.notify_all()
