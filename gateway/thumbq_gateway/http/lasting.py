"""A response that lasts after its handler has returned it, so that nothing of the way there is kept meanwhile."""

import asyncio
from collections.abc import Callable, Mapping

from aiohttp import web


class LastingResponse(web.StreamResponse):
    """A stream that others write to until it ends.

    aiohttp finishes a response when all middlewares have returned it. Waiting there instead of in the handler saves
    the frames of all of them, for each of ten thousand streams that sleep.
    """

    def __init__(self, *, headers: Mapping[str, str]) -> None:
        super().__init__(headers=headers)
        self._ended: asyncio.Future[None] | None = None
        self._at_end: list[Callable[[], None]] = []

    def last_until(self, ended: asyncio.Future[None]) -> None:
        """Go on until `ended` is done, or the client goes away."""
        self._ended = ended

    def at_end(self, call: Callable[[], None]) -> None:
        """Have this called when the stream is over, however it ends. The last one is called first."""
        self._at_end.append(call)

    def leave(self) -> None:
        """Call what is to be called at the end, even after one that raises. A handler that fails does it itself."""
        if self._at_end:
            try:
                self._at_end.pop()()
            finally:
                self.leave()

    async def write_eof(self, data: bytes = b"") -> None:
        """Wait for the end, and finish the response. aiohttp calls it."""
        try:
            if self._ended is not None:
                await self._ended
        finally:
            self.leave()
        await super().write_eof(data)
