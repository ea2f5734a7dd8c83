"""A picture as an HTTP response: validators, ranges, and pieces that are read one by one."""

import os
import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass
from email.utils import formatdate
from functools import partial
from typing import BinaryIO

from aiohttp import web

from thumbq_gateway.http.file_threads import FileThreads

PIECE = 256 * 1024  # bytes
_HEADERS = {
    # A new picture keeps the address, so a browser must revalidate its copy.
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Accept-Ranges": "bytes",
}


@dataclass(frozen=True)
class Picture:
    """An open file, with its first piece."""

    file: BinaryIO
    start: bytes
    size: int
    modified: int  # nanoseconds
    content_type: str
    name: str

    @property
    def tag(self) -> str:
        """The entity tag, without quotes."""
        return f"{self.modified:x}-{self.size:x}"

    @property
    def seconds(self) -> int:
        """When it was modified, as HTTP counts time."""
        return self.modified // 1_000_000_000

    def headers(self) -> dict[str, str]:
        """Return the headers that do not depend on the request."""
        return {
            **_HEADERS,
            "Content-Type": self.content_type,
            "Content-Disposition": f'inline; filename="{self.name}"',
            "ETag": f'"{self.tag}"',
            "Last-Modified": formatdate(self.seconds, usegmt=True),
        }


def opened_picture(file: BinaryIO, content_type: str, start: bytes, name: str) -> Picture:
    """Return the picture of an open file."""
    facts = os.fstat(file.fileno())
    if not stat.S_ISREG(facts.st_mode):
        raise OSError("no regular file")
    return Picture(file, start, facts.st_size, facts.st_mtime_ns, content_type, name)


async def send_picture(request: web.Request, picture: Picture, threads: FileThreads) -> web.StreamResponse:
    """Send what the request asks for: the picture, a range of it, or only that it has not changed. Raises Stalled."""
    headers = picture.headers()
    if failed := _failed_condition(request, picture):
        return web.Response(status=failed, headers=headers)
    status, first, end = _wanted_range(request, picture)
    if status == 416:
        return web.Response(status=416, headers={**headers, "Content-Range": f"bytes */{picture.size}"})
    if status == 206:
        headers["Content-Range"] = f"bytes {first}-{end - 1}/{picture.size}"
    response = web.StreamResponse(status=status, headers=headers)
    response.content_length = end - first
    await response.prepare(request)
    if request.method != "HEAD":
        async for piece in _pieces(picture, threads, first, end):
            await response.write(piece)
    await response.write_eof()
    return response


async def _pieces(picture: Picture, threads: FileThreads, first: int, end: int) -> AsyncIterator[bytes]:
    position = first
    while position < end:
        piece = picture.start[position:end]
        if not piece:
            read = partial(os.pread, picture.file.fileno(), min(PIECE, end - position), position)
            piece = await threads.run(picture.file.name, read)
        if not piece:
            raise ConnectionResetError("the file became shorter while it was sent")
        yield piece
        position += len(piece)


def _failed_condition(request: web.Request, picture: Picture) -> int | None:
    """Return 304 or 412 if a condition of the request says not to send the picture."""
    if request.if_match is not None:
        if not any(tag.value in {"*", picture.tag} and not tag.is_weak for tag in request.if_match):
            return 412
    elif (unchanged := request.if_unmodified_since) and picture.seconds > unchanged.timestamp():
        return 412
    if request.if_none_match is not None:
        return 304 if any(tag.value in {"*", picture.tag} for tag in request.if_none_match) else None
    changed = request.if_modified_since
    return 304 if changed and picture.seconds <= changed.timestamp() else None


def _wanted_range(request: web.Request, picture: Picture) -> tuple[int, int, int]:
    """Return the status, the first byte and the byte after the last. A range that is no single one is ignored."""
    size = picture.size
    whole = 200, 0, size
    known = request.headers.get("If-Range")
    if known is not None and known not in {f'"{picture.tag}"', picture.headers()["Last-Modified"]}:
        return whole
    try:
        wanted = request.http_range
    except ValueError:
        return whole
    if wanted.start is None:
        return whole
    if wanted.start < 0:
        first, end = max(0, size + wanted.start), size
    else:
        first, end = wanted.start, min(size, size if wanted.stop is None else wanted.stop)
    return (206, first, end) if first < end else (416, 0, 0)
