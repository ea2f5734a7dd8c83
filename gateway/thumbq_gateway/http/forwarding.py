"""Passes a request on to another HTTP server as it is, and its answer back: bodies are streamed, WebSockets as well."""

import asyncio
import contextlib
import ssl
from collections.abc import Iterable
from typing import Literal

import aiohttp
import grpc
from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from thumbq_gateway.http.errors import Refusal

# RFC 9110, section 7.6.1: these headers are between two neighbours only.
_HOP_BY_HOP = {
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}
_OF_THIS_HANDSHAKE = {
    "sec-websocket-accept",
    "sec-websocket-extensions",
    "sec-websocket-key",
    "sec-websocket-protocol",
    "sec-websocket-version",
}
_FIRST_REFUSAL = 400  # the least HTTP status of a refusal
_CONNECT_SECONDS = 5.0
# Of a WebSocket, in bytes: unfinished ones stay in memory, and a stranger may send any number of those.
_LARGEST_OF_CALLER = 1024 * 1024
_LARGEST_ANSWER = 64 * 1024 * 1024
# What proxies tell of a caller, beside X-Forwarded-For and others of such names.
_TELLS_OF_CALLER = {"forwarded", "x-real-ip"}


def asks_for_websocket(request: web.Request) -> bool:
    """Return whether the request is to become a WebSocket."""
    return request.headers.get("Upgrade", "").lower() == "websocket"


class Forwarder:
    """The client side. Made in the running loop; closed with the gateway."""

    def __init__(self, trust: ssl.SSLContext | Literal[False]) -> None:
        """`trust` says which certificates of https servers are taken; with False, any."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS)
        self._session = aiohttp.ClientSession(
            timeout=timeout,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            connector=aiohttp.TCPConnector(limit=0, ssl=trust),
        )

    async def aclose(self) -> None:
        """End all connections."""
        await self._session.close()

    async def forward(
        self, request: web.Request, base: URL, extra: Iterable[tuple[str, str]] = (), *, is_believed: bool = True
    ) -> web.StreamResponse:
        """Return the answer of `base` to the request; `extra` are headers for it.

        `is_believed` says whether what the request tells of its caller is passed on. Raises Refusal when `base` is
        away, or the target is no path.
        """
        if not request.raw_path.startswith("/"):
            raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, "The target of the request must be a path.")
        url = URL(str(base).rstrip("/") + request.raw_path, encoded=True)  # letter for letter, as it came
        headers = _headers_for(request, is_believed=is_believed)
        headers.extend(extra)
        try:
            if asks_for_websocket(request):
                return await self._tunnel(request, url, headers)
            return await self._stream(request, url, headers)
        except (aiohttp.ClientConnectionError, TimeoutError) as error:
            message = f"{base.host}:{base.port} cannot be reached."
            raise Refusal(grpc.StatusCode.UNAVAILABLE, message, http_status=502) from error
        except aiohttp.WSServerHandshakeError as error:
            message = f"{base.host}:{base.port} refuses the WebSocket with {error.status}."
            status = error.status if error.status >= _FIRST_REFUSAL else 502
            raise Refusal(grpc.StatusCode.UNAVAILABLE, message, http_status=status) from None
        except aiohttp.ClientResponseError:  # it quotes the address, which may hold a ticket
            message = f"{base.host}:{base.port} gave an answer that cannot be passed on."
            raise Refusal(grpc.StatusCode.UNAVAILABLE, message, http_status=502) from None

    async def _stream(self, request: web.Request, url: URL, headers: CIMultiDict[str]) -> web.StreamResponse:
        body = request.content if request.body_exists else None
        asked = self._session.request(
            request.method,
            url,
            headers=headers,
            data=body,
            allow_redirects=False,
            skip_auto_headers=["Content-Type", "User-Agent", "Accept", "Accept-Encoding"],
        )
        async with asked as answer:
            response = web.StreamResponse(
                status=answer.status, reason=answer.reason, headers=_passed_on(answer.headers)
            )
            if answer.headers.get("Content-Length") is None:
                response.content_length = None
            await response.prepare(request)
            with contextlib.suppress(ConnectionError):
                async for piece in answer.content.iter_any():
                    await response.write(piece)
                await response.write_eof()
            return response

    async def _tunnel(self, request: web.Request, url: URL, headers: CIMultiDict[str]) -> web.StreamResponse:
        for name in _OF_THIS_HANDSHAKE:
            headers.popall(name, None)
        protocols = [
            name.strip() for name in request.headers.get("Sec-WebSocket-Protocol", "").split(",") if name.strip()
        ]
        async with self._session.ws_connect(
            url, headers=headers, protocols=protocols, max_msg_size=_LARGEST_ANSWER
        ) as beyond:
            chosen = [beyond.protocol] if beyond.protocol else []
            socket = web.WebSocketResponse(protocols=chosen, compress=False, max_msg_size=_LARGEST_OF_CALLER)
            await socket.prepare(request)
            there = asyncio.create_task(_pass_on(socket, beyond))
            back = asyncio.create_task(_pass_on(beyond, socket))
            try:
                await asyncio.wait([there, back], return_when=asyncio.FIRST_COMPLETED)
            finally:
                there.cancel()
                back.cancel()
                await asyncio.gather(there, back, return_exceptions=True)
            await socket.close(code=beyond.close_code or aiohttp.WSCloseCode.OK)
            return socket


async def _pass_on(
    source: web.WebSocketResponse | aiohttp.ClientWebSocketResponse,
    sink: web.WebSocketResponse | aiohttp.ClientWebSocketResponse,
) -> None:
    async for message in source:
        if message.type is aiohttp.WSMsgType.TEXT:
            await sink.send_str(message.data)
        elif message.type is aiohttp.WSMsgType.BINARY:
            await sink.send_bytes(message.data)


def _headers_for(request: web.Request, *, is_believed: bool) -> CIMultiDict[str]:
    """Return the headers of the request that is made, with who has called here."""
    headers = _passed_on(request.headers)
    callers = [*(request.headers.getall("X-Forwarded-For", ()) if is_believed else ()), request.remote]
    scheme, host = request.scheme, request.host
    if is_believed:
        scheme, host = headers.get("X-Forwarded-Proto", scheme), headers.get("X-Forwarded-Host", host)
    else:
        for name in list(filter(_tells_of_caller, headers)):
            headers.popall(name, None)
    headers.popall("Host", None)
    headers["X-Forwarded-For"] = ", ".join(filter(None, callers))
    headers["X-Forwarded-Proto"] = scheme
    headers["X-Forwarded-Host"] = host
    return headers


def _tells_of_caller(name: str) -> bool:
    return name.lower().startswith("x-forwarded-") or name.lower() in _TELLS_OF_CALLER


def _passed_on(headers: CIMultiDictProxy[str]) -> CIMultiDict[str]:
    """Return the headers without those between neighbours, among them the ones that `Connection` names."""
    named = {name.strip().lower() for line in headers.getall("Connection", ()) for name in line.split(",")}
    unwanted = _HOP_BY_HOP | named
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in unwanted)
