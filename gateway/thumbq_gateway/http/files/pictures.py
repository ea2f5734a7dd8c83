"""The kind and the size of a picture, and whether it is whole, by its content."""

import hashlib
from io import BytesIO
from typing import NamedTuple

import imagesize

_LARGEST_SIDE = 16_384  # pixels: as much as WebP can be, and more than anything shown
_MOST_READS = 5_000  # a picture with a colour profile of a megabyte takes a hundred


class NoPicture(ValueError):
    """Content that is none of the accepted pictures; `str()` is a sentence."""


class Picture(NamedTuple):
    """A whole picture."""

    content_type: str
    extension: str
    width: int
    height: int


def inspect(content: bytes) -> Picture:
    """Return the picture in the content. Raises NoPicture."""
    content_type, extension = _kind(content)
    try:
        width, height = imagesize.get(_FewReads(content))
    except (ValueError, IndexError):
        width = height = 0
    if not (0 < width <= _LARGEST_SIDE and 0 < height <= _LARGEST_SIDE):
        raise NoPicture("The picture is broken, or larger than can be shown.")
    return Picture(content_type, extension, width, height)


class _FewReads(BytesIO):
    """Content that is read a limited number of times: imagesize reads what is between JPEG segments byte by byte."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self._reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next bytes. Raises ValueError."""
        self._reads += 1
        if self._reads > _MOST_READS:
            raise ValueError("The picture is read too often.")
        return super().read(size)


def key_of_upload(content: bytes, picture: Picture) -> str:
    """Return the name under which a picture is kept, by its content: the same picture twice is one file."""
    digest = hashlib.sha256(content).hexdigest()
    return f"uploads/{digest[:2]}/{digest[2:4]}/{digest}.{picture.extension}"


def _kind(content: bytes) -> tuple[str, str]:
    """By the first bytes; the last ones, or the length that is stated, tell whether it is whole."""
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        found, is_whole = ("image/png", "png"), content.endswith(b"IEND\xae\x42\x60\x82")
    elif content.startswith(b"\xff\xd8\xff"):
        found, is_whole = ("image/jpeg", "jpg"), content.rstrip(b"\0").endswith(b"\xff\xd9")
    elif content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        stated = int.from_bytes(content[4:8], "little") + 8
        found, is_whole = ("image/webp", "webp"), len(content) in {stated, stated + stated % 2}
    else:
        raise NoPicture("The file must be a PNG, JPEG or WebP picture.")
    if not is_whole:
        raise NoPicture("The picture is not whole.")
    return found
