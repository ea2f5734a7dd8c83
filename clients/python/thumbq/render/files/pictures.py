"""Textures: pictures that are whole, of a kind that the renderer reads, and no larger than a thumbnail needs."""

import io
import warnings
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from thumbq.render.files.refusal import needing_room

# A texture is seen at the size of the thumbnail at most; more would cost time and memory.
LARGEST_SIDE = 2048
# A JPEG may have so many: only the detail that is needed is decoded.
MOST_PIXELS = 300_000_000
# Each pixel that is decoded takes four bytes, twice.
MOST_DECODED = 178_956_970
UNREADABLE = "is damaged, or of a kind that is not read"
TOO_LARGE = "has too many pixels"
_KINDS = ("PNG", "JPEG", "WEBP", "BMP", "TGA", "TIFF", "GIF")
_KEPT = ("PNG", "JPEG")
# Pillow refuses pictures of more than twice as many.
Image.MAX_IMAGE_PIXELS = MOST_PIXELS // 2


def settle(content: bytes | Path, target: Path) -> str | None:
    """Write a texture to `target` as PNG or JPEG, or return what is wrong with it; raises NoRoom."""
    source = io.BytesIO(content) if isinstance(content, bytes) else io.BytesIO(content.read_bytes())
    try:
        with needing_room(), warnings.catch_warnings(action="ignore"), Image.open(source, formats=_KINDS) as picture:
            small = max(picture.size) <= LARGEST_SIDE
            # Lets the JPEG decoder skip the detail that is thrown away below.
            picture.draft(None, (LARGEST_SIDE, LARGEST_SIDE))
            if picture.width * picture.height > MOST_DECODED:
                return TOO_LARGE
            picture.load()
            if small and picture.format in _KEPT and picture.mode in {"RGB", "RGBA", "L"}:
                target.write_bytes(source.getvalue())
            else:
                _write(picture, target)
    except Image.DecompressionBombError:
        return TOO_LARGE
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
        return UNREADABLE
    return None


def _write(picture: Image.Image, target: Path) -> None:
    has_alpha = picture.has_transparency_data
    plain = picture.convert("RGBA" if has_alpha else "RGB")
    plain.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.BOX)
    if has_alpha:
        plain.save(target, "PNG", compress_level=1)
    else:
        plain.save(target, "JPEG", quality=92)
