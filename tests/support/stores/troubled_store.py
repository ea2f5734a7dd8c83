"""A proxy before an object store that spoils what passes, as bad networks and overloaded stores do."""

import asyncio
from collections.abc import Awaitable, Callable
from io import BytesIO
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp import web
from yarl import URL

# Spoils a request, or returns None for one that is to pass.
Trouble = Callable[["TroubledStore", web.BaseRequest], Awaitable[web.StreamResponse | None]]

_BETWEEN_TWO = {"connection", "keep-alive", "transfer-encoding", "server", "date"}


class TroubledStore:
    """Passes requests on to the store at `endpoint`, while there is no trouble."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self.address = ""
        self.trouble: Trouble | None = None
        # the methods of the requests that came
        self.asked: list[str] = []
        self.is_over = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(auto_decompress=False)
        self._runner = web.ServerRunner(web.Server(self._answer))
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.address = f"http://{host}:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.is_over.set()
        await self._runner.cleanup()
        await self._http.close()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append(request.method)
        if self.trouble and (answer := await self.trouble(self, request)):
            return answer
        status, headers, body = await self.real(request)
        return await send(request, status, headers, body)

    async def real(self, request: web.BaseRequest) -> tuple[int, dict[str, str], bytes]:
        """Return what the store answers: status, headers and body."""
        url = URL(f"{self._endpoint}{request.raw_path}", encoded=True)
        body = BytesIO(await request.content.read()) if request.can_read_body else None
        skipped = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")
        async with self._http.request(
            request.method, url, headers=request.headers, data=body, skip_auto_headers=skipped
        ) as answer:
            headers = {name: text for name, text in answer.headers.items() if name.lower() not in _BETWEEN_TWO}
            return answer.status, headers, await answer.read()


async def send(request: web.BaseRequest, status: int, headers: dict[str, str], body: bytes) -> web.StreamResponse:
    """Answer a request."""
    response = web.StreamResponse(status=status, headers=headers)
    await response.prepare(request)
    if body:
        await response.write(body)
    await response.write_eof()
    return response


def says(status: int, code: str = "") -> Trouble:
    """The store answers with an error of this code; without a code, with nothing of the protocol."""

    async def trouble(_store: TroubledStore, request: web.BaseRequest) -> web.StreamResponse:
        await request.read()
        text = f"<Error><Code>{code}</Code><Message>m</Message></Error>" if code else "<html>trouble</html>"
        body = b"" if request.method == "HEAD" else text.encode()
        return await send(request, status, {"Content-Length": str(len(body))}, body)

    return trouble


async def cut(store: TroubledStore, request: web.BaseRequest) -> web.StreamResponse:
    """Break the connection in the middle of the body, of the request or of the answer."""
    assert request.transport
    if request.can_read_body:
        await request.content.readany()
        request.transport.abort()
        return web.StreamResponse()
    status, headers, body = await store.real(request)
    response = web.StreamResponse(status=status, headers=headers)
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    request.transport.close()
    return response


async def silence(store: TroubledStore, request: web.BaseRequest) -> web.StreamResponse:
    """Take a request and do not answer before the end."""
    await store.is_over.wait()
    return await send(request, 503, {}, b"")


async def without_tags(store: TroubledStore, request: web.BaseRequest) -> web.StreamResponse:
    """Tell nothing of the content of objects."""
    status, headers, body = await store.real(request)
    headers.pop("Etag", headers.pop("ETag", ""))
    return await send(request, status, headers, body)


def first(count: int, trouble: Trouble) -> Trouble:
    """Spoil the first `count` requests, and let the others pass."""
    left = [trouble] * count

    async def spoil(store: TroubledStore, request: web.BaseRequest) -> web.StreamResponse | None:
        return await left.pop()(store, request) if left else None

    return spoil


def slowly(pieces: int, pause: float) -> Trouble:
    """Take the body of a request in pieces, with a pause in seconds before each."""

    async def trouble(_store: TroubledStore, request: web.BaseRequest) -> None:
        for _ in range(pieces):
            await asyncio.sleep(pause)

    return trouble
