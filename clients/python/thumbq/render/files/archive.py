"""ZIP archives: one model and its companions, read in place and never unpacked as a whole."""

import lzma
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from thumbq.render.files.folder import copy
from thumbq.render.files.refusal import Refused
from thumbq.render.formats import ARCHIVES, looks_like_a_model

MOST_ENTRIES = 5000
_BROKEN = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError),
    *(NotImplementedError, RuntimeError, ValueError, OSError),
)


class Archive:
    """Where the companions of a model in an archive come from (see companions.Source)."""

    def __init__(self, path: Path) -> None:
        try:
            self._archive = zipfile.ZipFile(path)
        except _BROKEN as error:
            raise Refused(f"The archive is damaged or incomplete ({error}).") from error
        entries = self._archive.infolist()
        if len(entries) > MOST_ENTRIES:
            raise Refused(f"The archive has more than {MOST_ENTRIES} entries.")
        self._entries = {_key(entry.filename): entry for entry in entries if _is_plain(entry)}
        self._folder = PurePosixPath()

    def take_model(self, target: Path, most: int) -> str:
        """Copy the one model of the archive to `target`, and return its name; raises Refused."""
        models = [entry for entry in self._entries.values() if _is_model(entry.filename)]
        if len(models) != 1:
            names = ", ".join(PurePosixPath(entry.filename).name for entry in models[:3])
            found = f"{len(models)} ({names}{', …' if len(models) > 3 else ''})" if models else "none"
            raise Refused(f"An archive must hold one model; this one holds {found}.")
        name = PurePosixPath(models[0].filename)
        self._folder = name.parent
        self._copy(models[0], target, most)
        return name.name

    def copy(self, name: PurePosixPath, target: Path, most: int) -> bool:
        """See companions.Source."""
        entry = self._entries.get(_key(str(self._folder / name))) or self._entries.get(_key(str(name)))
        if entry is None:
            return False
        self._copy(entry, target, most)
        return True

    def _copy(self, entry: zipfile.ZipInfo, target: Path, most: int) -> None:
        name = PurePosixPath(entry.filename).name
        try:
            with self._archive.open(entry) as content:
                copy(content, target, most, name)
        except _BROKEN as error:
            what = "needs a password" if entry.flag_bits & 1 else f"is damaged ({error})"
            raise Refused(f"{name} in the archive {what}.") from error


def check_content(path: Path, most: int) -> None:
    """Refuse a format that is an archive itself when it is damaged, a bomb, or holds XML that declares entities."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if len(entries) > MOST_ENTRIES:
                raise Refused(f"The file has more than {MOST_ENTRIES} parts.")
            left = most
            for entry in entries:
                left = _check_part(archive, entry, left, most)
    except _BROKEN as error:
        raise Refused(f"The file is damaged or incomplete ({error}).") from error


def _check_part(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, left: int, most: int) -> int:
    is_markup = entry.filename.lower().endswith((".model", ".xml", ".rels"))
    tail = b""
    with archive.open(entry) as part:
        while chunk := part.read(1 << 20):
            left -= len(chunk)
            if left < 0:
                raise Refused(f"The file grows beyond the limit of {most >> 20} MB when it is unpacked.")
            if is_markup and b"<!ENTITY" in tail + chunk:
                raise Refused("The file declares XML entities, which are not read.")
            tail = chunk[-8:]
    return left


def _key(name: str) -> str:
    return name.replace("\\", "/").removeprefix("./").casefold()


def _is_plain(entry: zipfile.ZipInfo) -> bool:
    kind = stat.S_IFMT(entry.external_attr >> 16)
    return not entry.is_dir() and kind in {0, stat.S_IFREG}


def _is_model(name: str) -> bool:
    path = PurePosixPath(name)
    hidden = "__MACOSX" in path.parts or path.name.startswith(".")
    return not hidden and looks_like_a_model(name) and path.suffix.lower() not in ARCHIVES
