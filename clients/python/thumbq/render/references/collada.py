"""COLLADA: the names of textures in it, however its XML is spelled.

The file is cut into tags and text, and put together again without comments, CDATA sections and processing
instructions. So the renderer's reader, which forgives much, cannot see another text than the one that is settled here.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape, unescape

from thumbq.render.files.companions import Companions
from thumbq.render.files.refusal import Refused
from thumbq.render.references.textures import Textures

_DAMAGED = "The COLLADA file is damaged or incomplete: its XML cannot be understood."
_PIECE = re.compile(
    rb"(?P<head>\A\s*<\?xml\s[^<>?]*\?>)"
    rb"|<!--.*?-->"
    rb"|<!\[CDATA\[(?P<data>.*?)\]\]>"
    rb"|<\?.*?\?>"
    rb"|<!DOCTYPE[^<>\[\]]*(?:\[[^\]]*\]\s*)?>"
    rb"""|(?P<tag><(?P<end>/?)(?P<name>[^\s<>"'/!?]++)[^<>"']*+(?:(?>"[^"]*+"[^<>"']*+|'[^']*+'[^<>"']*+))*+>)"""
    rb"|(?P<text>[^<]++)",
    re.DOTALL,
)
# A reader that does not find an image by its name takes the name for that of a file.
_NAMES_OF_IMAGES = (b"init_from", b"source")
_FILES = (b"init_from", b"ref")
_ATTRIBUTE = re.compile(rb"""((?<![\w:.-])(?:texture|url)\s*=\s*)("[^"]*"|'[^']*')""")
_PATH_LIKE = re.compile(rb"[/\\:%&]")
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def prepare(raw: Path, path: Path, companions: Companions, _most: int) -> None:
    """Write a COLLADA file whose textures are in the stage; raises Refused when it declares entities."""
    content = raw.read_bytes()
    if content.startswith(_UTF_16):
        content = content.decode("utf-16", errors="replace").encode()
    if b"\0" in content:
        raise Refused("The COLLADA file is damaged: it is neither UTF-8 nor UTF-16 text.")
    if b"<!ENTITY" in content:
        raise Refused("The COLLADA file declares XML entities, which are not read.")
    if b"</COLLADA" not in content[-1000:]:
        raise Refused("The COLLADA file is incomplete: its closing tag is missing.")
    path.write_bytes(b"".join(_settled(content, Textures(companions, path.parent))))
    raw.unlink()


def _settled(content: bytes, textures: Textures) -> Iterator[bytes]:
    """Yield the pieces of the document with names of textures that are in the stage."""
    elements: list[bytes] = []
    end = 0
    for piece in _PIECE.finditer(content):
        if piece.start() != end:
            break
        end = piece.end()
        if tag := piece["tag"]:
            _follow(elements, piece["name"], is_end=bool(piece["end"]), is_whole=tag.endswith(b"/>"))
            yield _ATTRIBUTE.sub(_without_path, tag) if b"texture" in tag or b"instance_image" in tag else tag
        elif data := piece["data"]:
            yield _text(escape(data.decode(errors="replace")).encode(), elements, textures)
        else:
            yield piece["head"] or _text(piece["text"] or b"", elements, textures)
    if end != len(content):
        raise Refused(_DAMAGED)


def _follow(elements: list[bytes], name: bytes, *, is_end: bool, is_whole: bool) -> None:
    if not is_end and not is_whole:
        elements.append(name)
    elif is_end and (not elements or elements.pop() != name):
        raise Refused(_DAMAGED)


def _text(text: bytes, elements: list[bytes], textures: Textures) -> bytes:
    within = elements[-1] if elements else b""
    if within in _FILES and b"image" in elements:
        name = unescape(text.decode(errors="replace")).strip()
        return (textures.take(name, encoded=True) or "none").encode() if name else b""
    return _PATH_LIKE.sub(b"_", text) if within in _NAMES_OF_IMAGES else text


def _without_path(attribute: re.Match[bytes]) -> bytes:
    return attribute[1] + _PATH_LIKE.sub(b"_", attribute[2])
