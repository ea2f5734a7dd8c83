"""A stream of the server that the gateway reads only while a client wants it."""

import asyncio
from collections.abc import Callable
from typing import Any, NoReturn

import grpc

from thumbq_gateway.notifications.demand import Demand
from thumbq_gateway.notifications.upstream import back_off


class OnDemand:
    """Opens the stream for the first client, and again whenever it ends. Closes it some time after the last."""

    def __init__(
        self,
        open_stream: Callable[[], Any],
        take: Callable[[Any], None],
        end: Callable[[], None],
        note_server: Callable[[str | None], None],
        *,
        linger: float,
    ) -> None:
        """`take` gets each message, `end` is called when the stream is closed for want of clients.

        `note_server` gets the problem of a stream that ends, and None with each message.

        The stream is kept for `linger` seconds after the last client has left, since pages are often reloaded.
        """
        self._open_stream = open_stream
        self._take = take
        self._ended = end
        self._note_server = note_server
        self._task: asyncio.Task[NoReturn] | None = None
        demand = Demand(self._open, self._close, linger=linger)
        self.enter, self.leave, self.end = demand.enter, demand.leave, demand.end

    @property
    def is_wanted(self) -> bool:
        """Whether the stream is open, or is being opened."""
        return self._task is not None

    def _open(self) -> None:
        self._task = asyncio.create_task(self._follow())

    def _close(self) -> None:
        if self._task:
            self._task.cancel()
            self._task = None
        self._ended()

    async def _follow(self) -> NoReturn:
        pauses = back_off()
        while True:
            stream = self._open_stream()
            problem = "the server ended the stream"
            try:
                async for response in stream:
                    pauses = back_off()
                    self._note_server(None)
                    self._take(response)
            except grpc.aio.AioRpcError as error:
                problem = f"{error.code().name}: {error.details()}"
            finally:
                stream.cancel()
            self._note_server(problem)
            await asyncio.sleep(next(pauses))
