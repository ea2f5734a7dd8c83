"""Bodies that come compressed. aiohttp leaves them as they come, so that they can also be passed on as they are."""

import zlib

import grpc
from aiohttp import web

from thumbq_gateway.http.errors import Refusal

_GZIP = zlib.MAX_WBITS | 16
_NAMES = frozenset({"gzip", "deflate"})


class Decompressor:
    """Undoes gzip or deflate, piece by piece."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._stream: zlib._Decompress | None = None

    def decompress(self, piece: bytes, most: int) -> bytes:
        """Return what the piece stands for, up to `most` bytes of it. Raises Refusal."""
        if self._stream is None:
            self._stream = zlib.decompressobj(_GZIP if self._encoding == "gzip" else _window(piece))
        try:
            content = self._stream.decompress(piece, most)
        except zlib.error:
            raise _broken() from None
        if self._stream.unused_data:
            raise _broken()
        return content

    def end(self) -> None:
        """Tell that the body has ended. Raises Refusal when it is not whole."""
        if self._stream is not None and not self._stream.eof:
            raise _broken()


def encoding_of(request: web.Request) -> str | None:
    """Return the encoding of the body, or None for a plain one. Raises Refusal for those that are not understood."""
    given = [
        name.strip().lower() for line in request.headers.getall("Content-Encoding", ()) for name in line.split(",")
    ]
    names = [name for name in given if name not in {"", "identity"}]
    if not names:
        return None
    if len(names) > 1 or names[0] not in _NAMES:
        message = f"The Content-Encoding {', '.join(names)[:40]!r} is not understood: send gzip, deflate, or none."
        raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, message, http_status=415)
    return names[0]


def refuse_encodings(request: web.Request) -> None:
    """Refuse a body that is compressed, where none is expected. Raises Refusal."""
    if encoding_of(request):
        raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, "The body must come without Content-Encoding.", http_status=415)


def _window(start: bytes) -> int:
    """Return what zlib needs to know of a deflate stream: some clients leave out the header that RFC 1950 asks for."""
    return zlib.MAX_WBITS if start[0] & 0x0F == zlib.DEFLATED else -zlib.MAX_WBITS


def _broken() -> Refusal:
    return Refusal(grpc.StatusCode.INVALID_ARGUMENT, "The request body cannot be decoded.")
