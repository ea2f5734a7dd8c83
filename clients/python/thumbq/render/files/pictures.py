"""Textures: pictures that are whole, of a kind that the renderer reads, and no larger than a thumbnail needs."""

import io
import warnings
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from thumbq.render.files.refusal import needing_room

# A texture is seen at the size of the thumbnail at most; more would cost time and memory.
LARGEST_SIDE = 2048
MOST_PIXELS = 300_000_000
_KINDS = ("PNG", "JPEG", "WEBP", "BMP", "TGA", "TIFF", "GIF")
_KEPT = ("PNG", "JPEG")


def settle(content: bytes | Path, target: Path) -> bool:
    """Write a texture to `target` as PNG or JPEG; False when it is no picture, is damaged, or is far too large.

    Raises NoRoom.
    """
    source = io.BytesIO(content) if isinstance(content, bytes) else io.BytesIO(content.read_bytes())
    try:
        with needing_room(), warnings.catch_warnings(action="ignore"), Image.open(source, formats=_KINDS) as picture:
            if picture.width * picture.height > MOST_PIXELS:
                return False
            small = max(picture.size) <= LARGEST_SIDE
            # Lets the JPEG decoder skip the detail that is thrown away below.
            picture.draft(None, (LARGEST_SIDE, LARGEST_SIDE))
            picture.load()
            if small and picture.format in _KEPT and picture.mode in {"RGB", "RGBA", "L"}:
                target.write_bytes(source.getvalue())
            else:
                _write(picture, target)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return False
    return True


def _write(picture: Image.Image, target: Path) -> None:
    has_alpha = picture.has_transparency_data
    plain = picture.convert("RGBA" if has_alpha else "RGB")
    plain.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.BOX)
    if has_alpha:
        plain.save(target, "PNG", compress_level=1)
    else:
        plain.save(target, "JPEG", quality=92)
