"""COLLADA and DirectX text files: the names of textures in them."""

import re
from pathlib import Path
from xml.sax.saxutils import unescape

from thumbq.render.files.companions import Companions
from thumbq.render.files.refusal import Refused
from thumbq.render.references.textures import Textures

_IMAGES = re.compile(rb"<library_images\b.*?</library_images\s*>", re.DOTALL)
_FILE = re.compile(rb"(<init_from\b[^>]*>\s*(?:<ref\b[^>]*>)?)([^<]*)")
_X_FILE = re.compile(rb'(Texture[Ff]ile[Nn]ame\s*\{\s*")([^"]*)(")')
_X_HEADER = re.compile(rb"\s*xof [ \d]{4}txt ")


def prepare_dae(raw: Path, path: Path, companions: Companions, _most: int) -> None:
    """Write a COLLADA file whose textures are in the stage; raises Refused when it declares entities."""
    content = raw.read_bytes()
    if b"<!ENTITY" in content or b"\0<\0!\0E\0N\0T" in content:
        raise Refused("The COLLADA file declares XML entities, which are not read.")
    if b"</COLLADA" not in content[-1000:]:
        raise Refused("The COLLADA file is incomplete: its closing tag is missing.")
    textures = Textures(companions, path.parent)

    def settled(found: re.Match[bytes]) -> bytes:
        name = unescape(found[2].decode(errors="replace")).strip()
        return found[1] + ((textures.take(name, encoded=True) or "none").encode() if name else b"")

    path.write_bytes(_IMAGES.sub(lambda images: _FILE.sub(settled, images[0]), content))
    raw.unlink()


def prepare_x(raw: Path, path: Path, companions: Companions, _most: int) -> None:
    """Write a DirectX text file whose textures are in the stage; raises Refused for the binary kinds."""
    content = raw.read_bytes()
    if not _X_HEADER.match(content):
        raise Refused("The DirectX file is of a binary kind; only the text kind (“xof 0303txt”) is supported.")
    textures = Textures(companions, path.parent)

    def settled(found: re.Match[bytes]) -> bytes:
        name = found[2].decode(errors="replace").replace("\\\\", "\\").strip()
        return found[1] + ((textures.take(name) if name else None) or "none").encode() + found[3]

    path.write_bytes(_X_FILE.sub(settled, content))
    raw.unlink()
