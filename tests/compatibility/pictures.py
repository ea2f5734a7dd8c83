"""Pictures as renderers make them."""

import io
from typing import Any

from PIL import Image


def picture(kind: str, **options: Any) -> bytes:
    """A picture of 64 × 48."""
    content = io.BytesIO()
    Image.new("RGB", (64, 48), "teal").save(content, kind, **options)
    return content.getvalue()


def animated_webp() -> bytes:
    """A turntable of two frames."""
    return picture("WEBP", save_all=True, append_images=[Image.new("RGB", (64, 48), "red")], duration=50)
