"""MTL: the materials that an OBJ file refers to, in one file, with names of our own and textures that are there."""

import re
from collections.abc import Sequence
from pathlib import Path

from thumbq.render.files.companions import Companions
from thumbq.render.references.textures import Textures
from thumbq.render.repair.lines import lines

MOST_MATERIALS = 10_000
LARGEST = 32 << 20
# The colour of what has no material.
PLAIN = "newmtl plain\nKd 0.66 0.72 0.80\n"
_NUMBERS = {"ka", "kd", "ks", "ns", "d", "tr", "illum"}
_NAMES = {word.lower(): word for word in ("Ka", "Kd", "Ks", "Ns", "d", "Tr", "illum")}
# Options of a texture, each with the most values that it takes.
_OPTIONS = {
    "-blendu": 1, "-blendv": 1, "-boost": 1, "-mm": 2, "-o": 3, "-s": 3, "-t": 3, "-texres": 1, "-clamp": 1,
    "-bm": 1, "-imfchan": 1, "-type": 1, "-cc": 1, "-colorspace": 1,
}  # fmt: skip
_NAME = re.compile(r"\S.*?\.mtl\b", re.IGNORECASE)
_VALUE = re.compile(r"[-+.\deE:]+|on|off|[rgbmlz]|\w+", re.ASCII)


class Materials:
    """The materials of one model; they are written when they are read."""

    def __init__(self, path: Path, companions: Companions, libraries: Sequence[str]) -> None:
        self._textures = Textures(companions, path.parent)
        self._names: dict[str, str] = {}
        self._text = [PLAIN]
        for library in dict.fromkeys(libraries):
            for file in _files(path.parent, library, companions):
                self._read(file)
        self.are_there = bool(self._names)
        if self.are_there:
            path.write_text("".join(self._text))

    def name(self, name: str) -> str:
        """Return what we call the material of this name; materials that are not there look plain."""
        return self._names.get(name) or self._names.get(name.casefold()) or "plain"

    def _read(self, file: Path) -> None:
        if file.stat().st_size > LARGEST:
            return
        for _, line in lines(file):
            word, _, rest = line.decode(errors="replace").replace("\t", " ").partition(" ")
            word, rest = word.lower(), rest.strip()
            if word == "newmtl" and len(self._names) < MOST_MATERIALS:
                self._begin(rest)
            elif word in _NUMBERS and self._names:
                self._text.append(f"{_NAMES[word]} {_finite(rest)}\n")
            elif word == "map_kd" and self._names and (own := self._texture(rest)):
                self._text.append(f"map_Kd {own}\n")

    def _begin(self, name: str) -> None:
        own = f"material{len(self._names)}"
        self._names.setdefault(name, own)
        self._names.setdefault(name.casefold(), own)
        self._text.append(f"newmtl {own}\n")

    def _texture(self, text: str) -> str | None:
        """Return the file of a texture whose name comes after options, and may have spaces in it."""
        words = text.split(" ")
        while words and (most := _OPTIONS.get(words[0].lower())):
            words.pop(0)
            while most and len(words) > 1 and _VALUE.fullmatch(words[0]):
                words.pop(0)
                most -= 1
        name = " ".join(words).strip()
        return self._textures.take(name) if name else None


def _files(stage: Path, library: str, companions: Companions) -> list[Path]:
    """Return the files of a line `mtllib`, which may name several, or one with spaces in its name."""
    before = list(companions.remarks)
    if not library:
        return []
    if own := companions.take(library):
        return [stage / own]
    names = _NAME.findall(library) or library.split()
    if len(names) < 2:
        return []
    companions.remarks[:] = before
    return [stage / own for name in names if (own := companions.take(name))]


def _finite(text: str) -> str:
    values = re.findall(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?", text)
    return " ".join(values[:3]) or "0"
