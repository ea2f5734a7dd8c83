"""A file as an HTTP response: validators, ranges, and pieces that are read one by one."""

import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from functools import partial
from typing import BinaryIO

import grpc
from aiohttp import web

from thumbq_gateway.http.errors import Refusal
from thumbq_runtime.file_threads import FileThreads, Stalled

PIECE = 256 * 1024  # bytes
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    "Accept-Ranges": "bytes",
}


@dataclass(frozen=True)
class OpenFile:
    """An open file, with its first piece, and the headers that its handler adds."""

    file: BinaryIO
    start: bytes
    size: int
    modified: int  # nanoseconds
    more_headers: Mapping[str, str]

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
            **self.more_headers,
            "ETag": f'"{self.tag}"',
            "Last-Modified": formatdate(self.seconds, usegmt=True),
        }


def opened(file: BinaryIO, start: bytes, headers: Mapping[str, str]) -> OpenFile:
    """Return an open file whose first bytes are known. Raises OSError."""
    facts = os.fstat(file.fileno())
    return OpenFile(file, start, facts.st_size, facts.st_mtime_ns, headers)


def close_file(file: OpenFile) -> None:
    """Close the file."""
    file.file.close()


def stalled_file() -> Refusal:
    """Return the answer for a file that is not read in time."""
    return Refusal(grpc.StatusCode.UNAVAILABLE, "The file cannot be read at the moment.")


async def send_file(request: web.Request, file: OpenFile, threads: FileThreads) -> web.StreamResponse:
    """Send what the request asks for: the file, a range of it, or only that it has not changed. Closes the file."""
    try:
        return await _send(request, file, threads)
    except (OSError, Stalled) as error:  # the headers are sent: the client learns from the missing bytes
        request.protocol.force_close()
        raise ConnectionResetError("the file cannot be read") from error
    finally:
        close_file(file)


async def _send(request: web.Request, file: OpenFile, threads: FileThreads) -> web.StreamResponse:
    headers = file.headers()
    if failed := _failed_condition(request, file):
        return web.Response(status=failed, headers=headers)
    status, first, end = _wanted_range(request, file)
    if status == 416:
        return web.Response(status=416, headers={**headers, "Content-Range": f"bytes */{file.size}"})
    if status == 206:
        headers["Content-Range"] = f"bytes {first}-{end - 1}/{file.size}"
    response = web.StreamResponse(status=status, headers=headers)
    response.content_length = end - first
    await response.prepare(request)
    if request.method != "HEAD":
        async for piece in _pieces(file, threads, first, end):
            await response.write(piece)
    await response.write_eof()
    return response


async def _pieces(file: OpenFile, threads: FileThreads, first: int, end: int) -> AsyncIterator[bytes]:
    position = first
    while position < end:
        piece = file.start[position:end]
        if not piece:
            read = partial(os.pread, file.file.fileno(), min(PIECE, end - position), position)
            piece = await threads.run(file.file.name, read)
        if not piece:
            raise ConnectionResetError("the file became shorter while it was sent")
        yield piece
        position += len(piece)


def _failed_condition(request: web.Request, file: OpenFile) -> int | None:
    """Return 304 or 412 if a condition of the request says not to send the file."""
    if request.if_match is not None:
        if not any(tag.value in {"*", file.tag} and not tag.is_weak for tag in request.if_match):
            return 412
    elif (unchanged := request.if_unmodified_since) and file.seconds > unchanged.timestamp():
        return 412
    if request.if_none_match is not None:
        return 304 if any(tag.value in {"*", file.tag} for tag in request.if_none_match) else None
    changed = request.if_modified_since
    return 304 if changed and file.seconds <= changed.timestamp() else None


def _wanted_range(request: web.Request, file: OpenFile) -> tuple[int, int, int]:
    """Return the status, the first byte and the byte after the last. A range that is no single one is ignored."""
    size = file.size
    whole = 200, 0, size
    known = request.headers.get("If-Range")
    if known is not None and known not in {f'"{file.tag}"', file.headers()["Last-Modified"]}:
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
