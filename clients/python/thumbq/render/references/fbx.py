"""FBX: its version, and the names of textures in it, which are replaced in place so that nothing else moves."""

import re
import struct
from pathlib import Path

from thumbq.render.files.companions import Companions
from thumbq.render.files.refusal import Refused
from thumbq.render.references.textures import Textures

OLDEST = 7100
_MAGIC = b"Kaydara FBX Binary"
# In a binary file a node's name is followed by its properties: here a string and its length.
_BINARY = re.compile(rb"(?:RelativeFilename|FileName|Filename)S(.{4})", re.DOTALL)
_TEXT = re.compile(rb'"(?P<string>[^"]*+)(?:"|\Z)|(?P<comment>;[^\r\n]*+)|(?<![\w|-])(?P<key>[\w|-]++)(?=\s*:)')
_NAMES_OF_FILES = (b"RelativeFilename", b"FileName", b"Filename")
_TEXT_VERSION = re.compile(rb"FBXVersion:\s*(\d+)|;\s*FBX\s+(\d+)\.(\d+)")


def prepare(raw: Path, path: Path, companions: Companions, _most: int) -> None:
    """Write an FBX file whose textures are in the stage; raises Refused when it is too old."""
    content = bytearray(raw.read_bytes())
    is_binary = content.startswith(_MAGIC)
    _check_version(content, is_binary=is_binary)
    textures = Textures(companions, path.parent)
    if is_binary:
        for found in list(_BINARY.finditer(content)):
            _replace(content, found, textures)
        path.write_bytes(content)
    else:
        path.write_bytes(_settled(content, textures))
    raw.unlink()


def _settled(content: bytearray, textures: Textures) -> bytes:
    """Return the text without comments; quotations after a name of files, up to the next name, are our own."""
    key = b""

    def settled(piece: re.Match[bytes]) -> bytes:
        nonlocal key
        if piece["key"]:
            key = piece["key"]
        elif piece["comment"] is not None:
            return b""
        elif key in _NAMES_OF_FILES:
            return b'"' + _own(piece["string"], textures) + b'"'
        return piece[0]

    return _TEXT.sub(settled, content)


def _check_version(content: bytearray, *, is_binary: bool) -> None:
    if is_binary:
        if len(content) < 27:
            raise Refused("The FBX file is incomplete: it ends within its header.")
        (version,) = struct.unpack_from("<I", content, 23)
    else:
        found = _TEXT_VERSION.search(content, 0, 4096)
        if not found:
            return
        version = int(found[1]) if found[1] else 1000 * int(found[2]) + 100 * int(found[3])
    if version < OLDEST:
        raise Refused(f"The file is FBX {version // 1000}.{version % 1000 // 100}; 7.1 and newer are supported.")


def _replace(content: bytearray, found: re.Match[bytes], textures: Textures) -> None:
    (length,) = struct.unpack("<I", found[1])
    start = found.end()
    if length > len(content) - start:
        return
    name = _own(bytes(content[start : start + length]), textures)
    # A name that is too long for its place is given up: an invented one is not there.
    content[start : start + length] = name + b" " * (length - len(name)) if len(name) <= length else b"-" * length


def _own(name: bytes, textures: Textures) -> bytes:
    text = name.rstrip(b"\0").decode(errors="replace").strip()
    return (textures.take(text) or "none").encode() if text else b"none"
