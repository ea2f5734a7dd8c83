"""Textures of very many pixels: of a JPEG only the detail that is needed is decoded, and of other kinds the whole."""

import io
import struct
import zlib
from pathlib import Path

from PIL import Image

from thumbq.render.files.pictures import LARGEST_SIDE, MOST_DECODED, MOST_PIXELS, TOO_LARGE, settle


def _png(width: int, height: int) -> bytes:
    """A PNG that says how large it is, and ends where the pixels would begin."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"")


def test_a_jpeg_of_very_many_pixels_is_made_smaller(tmp_path: Path):
    content, size = io.BytesIO(), (16_384, 11_000)
    assert size[0] * size[1] > MOST_DECODED
    Image.new("L", size, 128).save(content, "JPEG")
    assert settle(content.getvalue(), tmp_path / "texture") is None
    with Image.open(tmp_path / "texture") as picture:
        assert picture.size == (LARGEST_SIDE, 1375)


def test_pictures_that_would_take_too_much_memory_are_said_to_be_too_large(tmp_path: Path):
    long, huge = io.BytesIO(), _png(20_000, MOST_PIXELS // 20_000 + 1)
    # Its short side is needed as it is, so all of it would be decoded.
    Image.new("L", (65_000, 2_800), 128).save(long, "JPEG")
    for content in (long.getvalue(), _png(16_384, 16_384), huge):
        assert settle(content, tmp_path / "texture") == TOO_LARGE
