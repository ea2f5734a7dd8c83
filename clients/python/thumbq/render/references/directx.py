"""DirectX text files: the names of textures in them."""

import re
from pathlib import Path

from thumbq.render.files.companions import Companions
from thumbq.render.files.refusal import Refused
from thumbq.render.references.textures import Textures

_HEADER = re.compile(rb"\s*xof [ \d]{4}txt ")
# A quotation that does not end reaches to the end of the file.
_PIECE = re.compile(
    rb'"(?P<string>[^"]*+)(?:"|\Z)'
    rb"|(?P<comment>//[^\r\n]*+|#[^\r\n]*+)"
    rb"|(?P<key>(?:Texture|Normalmap)[Ff]ile[Nn]ame)"
)


def prepare(raw: Path, path: Path, companions: Companions, _most: int) -> None:
    """Write a DirectX text file whose textures are in the stage; raises Refused for the binary kinds.

    Every quotation in the file is replaced, so that no other can be left for the renderer to read.
    """
    content = raw.read_bytes()
    if not _HEADER.match(content):
        raise Refused("The DirectX file is of a binary kind; only the text kind (“xof 0303txt”) is supported.")
    textures = Textures(companions, path.parent)
    is_name = False

    def settled(piece: re.Match[bytes]) -> bytes:
        nonlocal is_name
        if piece["comment"] is not None:
            return b" "
        if piece["key"]:
            is_name = True
            return piece[0]
        name = piece["string"].decode(errors="replace").replace("\\\\", "\\").strip()
        own = textures.take(name) if is_name and name else None
        is_name = False
        return f'"{own or "none"}"'.encode()

    path.write_bytes(_PIECE.sub(settled, content))
    raw.unlink()
