"""A file as an HTTP response: validators, ranges, and pieces that are sent one by one."""

import re
from collections.abc import AsyncIterator, Mapping
from email.utils import formatdate
from typing import Protocol

from aiohttp import web

from thumbq_runtime.files.objects import StoreTrouble
from thumbq_runtime.files.threads import Stalled

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    "Accept-Ranges": "bytes",
}
_NOTHING = re.compile(r"bytes=-0+")


class Content(Protocol):
    """The content of a picture or a model, wherever it is kept."""

    @property
    def start(self) -> bytes:
        """The first piece."""

    @property
    def size(self) -> int:
        """How many bytes there are."""

    @property
    def tag(self) -> str:
        """The entity tag, without quotes."""

    @property
    def seconds(self) -> int:
        """When it was modified, as HTTP counts time."""

    def pieces(self, first: int, end: int) -> AsyncIterator[bytes]:
        """Yield the bytes from one position to before another. Raises OSError, Stalled, StoreTrouble."""

    def close(self) -> None:
        """Let go of it."""


async def send(request: web.Request, content: Content, more_headers: Mapping[str, str]) -> web.StreamResponse:
    """Send what the request asks for: the content, a range of it, or only that it has not changed. Closes it."""
    try:
        return await _send(request, content, {**_HEADERS, **more_headers, **_validators(content)})
    except (OSError, Stalled, StoreTrouble) as error:  # the headers are sent: the client learns from the missing bytes
        request.protocol.force_close()
        raise ConnectionResetError("the file cannot be read") from error
    finally:
        content.close()


async def _send(request: web.Request, content: Content, headers: dict[str, str]) -> web.StreamResponse:
    if failed := _failed_condition(request, content):
        return web.Response(status=failed, headers=headers)
    status, first, end = _wanted_range(request, content)
    if status == 416:
        return web.Response(status=416, headers={**headers, "Content-Range": f"bytes */{content.size}"})
    if status == 206:
        headers["Content-Range"] = f"bytes {first}-{end - 1}/{content.size}"
    response = web.StreamResponse(status=status, headers=headers)
    response.content_length = end - first
    await response.prepare(request)
    if request.method != "HEAD":
        async for piece in content.pieces(first, end):
            await response.write(piece)
    await response.write_eof()
    return response


def _validators(content: Content) -> dict[str, str]:
    return {"ETag": f'"{content.tag}"', "Last-Modified": formatdate(content.seconds, usegmt=True)}


def _failed_condition(request: web.Request, content: Content) -> int | None:
    """Return 304 or 412 if a condition of the request says not to send the content."""
    if request.if_match is not None:
        if not any(tag.value in {"*", content.tag} and not tag.is_weak for tag in request.if_match):
            return 412
    elif (unchanged := request.if_unmodified_since) and content.seconds > unchanged.timestamp():
        return 412
    if request.if_none_match is not None:
        return 304 if any(tag.value in {"*", content.tag} for tag in request.if_none_match) else None
    changed = request.if_modified_since
    return 304 if changed and content.seconds <= changed.timestamp() else None


def _wanted_range(request: web.Request, content: Content) -> tuple[int, int, int]:
    """Return the status, the first byte and the byte after the last. A range that is no single one is ignored."""
    size = content.size
    whole = 200, 0, size
    known = request.headers.get("If-Range")
    if request.method != "GET":  # RFC 9110, 14.2
        return whole
    if known is not None and known not in {f'"{content.tag}"', _validators(content)["Last-Modified"]}:
        return whole
    try:
        wanted = request.http_range
    except ValueError:
        return whole
    if wanted.start is None:
        return whole
    if _NOTHING.fullmatch(request.headers.get("Range", "")):  # aiohttp takes the last 0 bytes for all
        return 416, 0, 0
    if wanted.start < 0:
        first, end = max(0, size + wanted.start), size
    else:
        first, end = wanted.start, min(size, size if wanted.stop is None else wanted.stop)
    return (206, first, end) if first < end else (416, 0, 0)
