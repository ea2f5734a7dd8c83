"""Reads the pixels of a window directly from OpenGL.

f3d's own `render_to_image` draws everything three times for one picture; this module draws it once. At the start it
finds the frame buffer whose content equals a picture from f3d. When none does, it uses `render_to_image`.
"""

import ctypes
import sys
from collections.abc import Callable
from typing import Any

import f3d
from PIL import Image, ImageChops, ImageStat

READ_FRAMEBUFFER, COLOR_ATTACHMENT, RGBA, UNSIGNED_BYTE = 0x8CA8, 0x8CE0, 0x1908, 0x1401
PROBE = 64
MOST_BUFFERS = 16


class Pixels:
    """Takes pictures of a window with a transparent ground; make it while the window shows something."""

    def __init__(self, window: f3d.Window) -> None:
        self._window = window
        self._gl = _opengl()
        self._buffer = self._find_buffer() if self._gl else None

    @property
    def drawn_once(self) -> bool:
        """Whether a picture costs one drawing."""
        return self._buffer is not None

    def shot(self, size: int) -> Image.Image:
        """Draw the scene, `size` pixels square."""
        self._window.size = (size, size)
        if self._buffer is not None:
            self._window.render()
            if image := self._read(self._buffer, size):
                return image
        return self._slow(size)

    def _slow(self, size: int) -> Image.Image:
        drawn = self._window.render_to_image(no_background=True)
        return Image.frombuffer("RGBA", (size, size), drawn.content, "raw", "RGBA", 0, -1)

    def _find_buffer(self) -> int | None:
        self._window.size = (PROBE, PROBE)
        expected = self._slow(PROBE)
        if not expected.getbbox():
            return None
        self._window.render()
        for buffer in range(1, MOST_BUFFERS):
            image = self._read(buffer, PROBE)
            if image and max(ImageStat.Stat(ImageChops.difference(image, expected)).mean) < 0.5:
                return buffer
        return None

    def _read(self, buffer: int, size: int) -> Image.Image | None:
        """Return the content of a frame buffer, or None when OpenGL refuses."""
        assert self._gl
        content = bytearray(4 * size * size)
        while self._gl["glGetError"]():
            pass
        self._gl["glBindFramebuffer"](READ_FRAMEBUFFER, buffer)
        self._gl["glReadBuffer"](COLOR_ATTACHMENT)
        target = (ctypes.c_char * len(content)).from_buffer(content)
        self._gl["glReadPixels"](0, 0, size, size, RGBA, UNSIGNED_BYTE, target)
        refused = self._gl["glGetError"]()
        self._gl["glBindFramebuffer"](READ_FRAMEBUFFER, 0)
        if refused:
            return None
        return Image.frombytes("RGBA", (size, size), bytes(content), "raw", "RGBA", 0, -1)


def _opengl() -> dict[str, Callable[..., Any]] | None:
    """Return the OpenGL functions of the driver that f3d uses, or None where f3d does not draw through EGL."""
    if sys.platform != "linux":
        return None
    try:
        egl = ctypes.CDLL("libEGL.so.1")
    except OSError:
        return None
    egl.eglGetProcAddress.restype = ctypes.c_void_p
    integer, pointer = ctypes.c_int, ctypes.c_void_p
    kinds = {
        "glGetError": ctypes.CFUNCTYPE(ctypes.c_uint),
        "glBindFramebuffer": ctypes.CFUNCTYPE(None, integer, integer),
        "glReadBuffer": ctypes.CFUNCTYPE(None, integer),
        "glReadPixels": ctypes.CFUNCTYPE(None, *[integer] * 6, pointer),
    }
    addresses = {name: egl.eglGetProcAddress(name.encode()) for name in kinds}
    if not all(addresses.values()):
        return None
    return {name: kind(addresses[name]) for name, kind in kinds.items()}
