"""The model formats that can be rendered, and how to tell them apart."""

import re
import struct
from collections.abc import Callable
from pathlib import Path

SUFFIXES = {
    ".glb": "glb",
    ".gltf": "gltf",
    ".obj": "obj",
    ".stl": "stl",
    ".fbx": "fbx",
    ".step": "step",
    ".stp": "step",
}
FORMATS = tuple(dict.fromkeys(SUFFIXES.values()))

HEAD = 4096
_OBJ_LINE = re.compile(rb"^(v|vn|vt|f|o|g|mtllib|usemtl)\s", re.MULTILINE)


def format_of_name(name: str) -> str | None:
    """The format that a file name or the path of a URL says."""
    return SUFFIXES.get(Path(name).suffix.lower())


def format_of_content(path: Path) -> str | None:
    """The format that the first bytes of a file (and, for a binary STL, its length) give away."""
    with path.open("rb") as file:
        head = file.read(HEAD)
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    return next((name for name, matches in _MARKS.items() if matches(head, text, path)), None)


def _is_stl(head: bytes, text: bytes, path: Path) -> bool:
    if len(head) >= 84 and path.stat().st_size == 84 + 50 * struct.unpack_from("<I", head, 80)[0]:
        return True
    return text.startswith(b"solid") and b"facet" in head


_MARKS: dict[str, Callable[[bytes, bytes, Path], bool]] = {
    "glb": lambda head, _text, _path: head.startswith(b"glTF"),
    "fbx": lambda head, text, _path: head.startswith(b"Kaydara FBX Binary") or text.startswith(b"; FBX"),
    "step": lambda _head, text, _path: text.startswith(b"ISO-10303-21"),
    "gltf": lambda _head, text, _path: text.startswith(b"{"),
    "stl": _is_stl,
    "obj": lambda head, _text, _path: b"\0" not in head and _OBJ_LINE.search(head) is not None,
}
