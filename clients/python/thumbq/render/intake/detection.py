"""Tells formats apart by what is in a file, and settles the matter when its name says something else."""

import re
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePath

from thumbq.render.formats import REFUSED, SUFFIXES

HEAD = 4096
_OBJ_LINE = re.compile(rb"^[ \t]*(v|vn|vt|f|l|o|g|mtllib|usemtl)[ \t]", re.MULTILINE)
_STL_START = re.compile(rb"solid\b.*?\b(facet|endsolid)\b", re.IGNORECASE | re.DOTALL)
_IGES_LINE = re.compile(rb"^.{72}S[ 0]*1\r?$", re.MULTILINE)
_POINT_LINE = re.compile(rb"\d+[ \t]*\r?\n[ \t]*[-+.\d]+([ \t]+[-+.\deE]+){2,6}[ \t]*[\r\n]")
_PTX_LINE = re.compile(rb"\d+\s+\d+\s+([-+.\deE]+\s+){24}")
_IFC_SCHEMA = re.compile(rb"FILE_SCHEMA\s*\(\s*\(\s*'IFC", re.IGNORECASE)
_MARKUP = re.compile(rb"<(COLLADA|amf)[\s>]")

# Damaged ones may show no more than that they are archives.
_ARCHIVES_THEMSELVES = ("3mf", "USDZ")


def format_of_content(path: Path) -> str | None:
    """Return the format that a file's bytes give away: a word of the table, "zip", a refused format's name, or None."""
    return _first(_SIGNATURES | _GUESSES, path)


def format_of_file(path: Path, name: str) -> str | None:
    """Return the format of a file that is called `name`, as a word, "zip", or the name of a refused format.

    A signature is stronger than the name. A name that the content does not bear out is weaker than a guess.
    """
    suffix = PurePath(name).suffix.lower()
    named = SUFFIXES.get(suffix) or REFUSED.get(suffix)
    found = _first(_SIGNATURES, path)
    if found and not (found == "zip" and named in _ARCHIVES_THEMSELVES):
        return found
    if named and (named not in _GUESSES or _first({named: _GUESSES[named]}, path)):
        return named
    return _first(_GUESSES, path) or named


def _first(marks: dict[str, Callable[[bytes, bytes, Path], bool]], path: Path) -> str | None:
    with path.open("rb") as file:
        head = file.read(HEAD)
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    return next((word for word, matches in marks.items() if matches(head, text, path)), None)


def _starts(*words: bytes) -> Callable[[bytes, bytes, Path], bool]:
    return lambda _head, text, _path: text.startswith(words)


def _markup(word: bytes) -> Callable[[bytes, bytes, Path], bool]:
    def matches(_head: bytes, text: bytes, _path: Path) -> bool:
        found = _MARKUP.search(text) if text.startswith(b"<") else None
        return found is not None and found[1] == word

    return matches


def _holds(*suffixes: str) -> Callable[[bytes, bytes, Path], bool]:
    def matches(head: bytes, _text: bytes, path: Path) -> bool:
        if not head.startswith(b"PK\x03\x04"):
            return False
        try:
            with zipfile.ZipFile(path) as archive:
                return any(name.lower().endswith(suffixes) for name in archive.namelist()[:1000])
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
            return False

    return matches


def _is_step(_head: bytes, text: bytes, _path: Path) -> bool:
    return text.startswith(b"ISO-10303-21") and not _is_ifc(_head, text, _path)


def _is_ifc(_head: bytes, text: bytes, _path: Path) -> bool:
    return text.startswith(b"ISO-10303-21") and _IFC_SCHEMA.search(text) is not None


def _is_binary_stl(head: bytes, _text: bytes, path: Path) -> bool:
    if len(head) < 84:
        return False
    triangles: int = struct.unpack_from("<I", head, 80)[0]
    # Some programs leave a few bytes after the last triangle.
    return 0 <= path.stat().st_size - 84 - 50 * triangles < (50 if triangles else 1)


def _is_3ds(head: bytes, _text: bytes, path: Path) -> bool:
    if not head.startswith(b"MM") or len(head) < 6:
        return False
    length: int = struct.unpack_from("<I", head, 2)[0]
    return length == path.stat().st_size


def _is_obj(head: bytes, _text: bytes, _path: Path) -> bool:
    return b"\0" not in head and _OBJ_LINE.search(head) is not None


_SIGNATURES: dict[str, Callable[[bytes, bytes, Path], bool]] = {
    "glb": lambda head, _text, _path: head.startswith(b"glTF"),
    "fbx": _starts(b"Kaydara FBX Binary", b"; FBX"),
    "ifc": _is_ifc,
    "step": _is_step,
    "ply": lambda head, _text, _path: re.match(rb"ply\s*[\r\n]", head) is not None,
    "wrl": _starts(b"#VRML"),
    "x": lambda head, _text, _path: re.match(rb"xof [ \d]{4}(txt |bin |tzip|bzip)", head) is not None,
    "las": lambda head, _text, _path: head.startswith(b"LASF"),
    "brep": _starts(b"CASCADE Topology", b"DBRep_DrawableShape"),
    "dae": _markup(b"COLLADA"),
    "3ds": _is_3ds,
    "USDZ": _holds(".usd", ".usda", ".usdc"),
    "USD": _starts(b"PXR-USDC", b"#usda"),
    "3DM": _starts(b"3D Geometry File Format"),
    "AMF": _markup(b"amf"),
    "BLEND": _starts(b"BLENDER"),
    "3mf": _holds("3dmodel.model", ".3mf/_rels/.rels"),
    "zip": lambda head, _text, _path: head.startswith((b"PK\x03\x04", b"PK\x05\x06")),
}
_GUESSES: dict[str, Callable[[bytes, bytes, Path], bool]] = {
    "gltf": _starts(b"{"),
    "stl": lambda head, text, path: _is_binary_stl(head, text, path) or _STL_START.match(text) is not None,
    "off": lambda _head, text, _path: re.match(rb"(ST)?C?N?4?n?OFF\b", text) is not None,
    "pcd": lambda _head, text, _path: re.match(rb"(#.*\n)*VERSION [.\d]+\s*\nFIELDS ", text) is not None,
    "iges": lambda head, _text, _path: _IGES_LINE.search(head) is not None,
    "obj": _is_obj,
    "ptx": lambda _head, text, _path: _PTX_LINE.match(text) is not None,
    "pts": lambda _head, text, _path: _POINT_LINE.match(text) is not None,
}
