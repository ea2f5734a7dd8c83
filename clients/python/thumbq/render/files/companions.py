"""The files that a model refers to: looked for in the model's own folder, archive or place on the web only."""

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Protocol
from urllib.parse import unquote

from thumbq.render.files.folder import Folder, copy
from thumbq.render.files.refusal import Refused

MOST_COMPANIONS = 200
LONGEST_NAME = 500
_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+:")
_DRIVE = re.compile(r"^(?:[a-zA-Z]:)?/*")
_SAFE_SUFFIX = re.compile(r"\.[a-z0-9]{1,5}")


class Source(Protocol):
    """Where companions come from."""

    def copy(self, name: PurePosixPath, target: Path, most: int) -> bool | None:
        """Copy the companion to `target`; False when there is none, None when that is not known; raises Refused."""
        ...


class FolderSource:
    """Companions in the folder that the model lies in."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def copy(self, name: PurePosixPath, target: Path, most: int) -> bool:
        """See Source."""
        file = self._folder.open_beneath(name)
        if file is None:
            return False
        with file:
            copy(file, target, most, str(name))
        return True


class FetchedSource:
    """Companions that the worker has fetched; what it has not been asked for yet is noted in `wants`."""

    def __init__(self, fetched: Mapping[str, str | None]) -> None:
        self._fetched = fetched
        self.wants: list[str] = []

    def copy(self, name: PurePosixPath, target: Path, most: int) -> bool | None:
        """See Source."""
        if str(name) not in self._fetched:
            self.wants.append(str(name))
            return None
        path = self._fetched[str(name)]
        if path is None:
            return False
        with Path(path).open("rb") as file:
            copy(file, target, most, str(name))
        return True


class Companions:
    """Puts companions into the stage under names of our own, and notes what was missing."""

    def __init__(self, source: Source, stage: Path, most_bytes: int) -> None:
        self._source = source
        self._stage = stage
        self._left = most_bytes
        self._names: dict[str, str | None] = {}
        self.remarks: list[str] = []
        # The worker has yet to fetch a file: a missing one may be there in the next turn.
        self.is_waiting = False

    def look_in(self, source: Source) -> None:
        """Look in another place from now on, such as the archive that the model came in."""
        self._source = source

    def take(self, reference: str, *, encoded: bool = False, named: str | None = None) -> str | None:
        """Return the name in the stage of the file that a model refers to; None, with a remark, when it cannot be had.

        `encoded` says that the reference is a URI. `named` asks for a certain name in the stage.
        """
        if reference not in self._names:
            self._names[reference] = self._take(reference, encoded=encoded, named=named)
        return self._names[reference]

    def _take(self, reference: str, *, encoded: bool, named: str | None) -> str | None:
        if len(self._names) >= MOST_COMPANIONS:
            raise Refused(f"The model refers to more than {MOST_COMPANIONS} files.")
        places = _places(reference, encoded=encoded)
        own = named or f"companion{len(self._names)}{_suffix(reference)}"
        target = self._stage / own
        reason = "is missing" if places else "lies outside the model's folder"
        for place in places:
            try:
                copied = self._source.copy(place, target, self._left)
            except Refused as refusal:
                reason = f"cannot be used ({str(refusal).strip('.')})"
            except OSError as error:
                reason = f"cannot be read ({error.strerror})"
            else:
                if copied:
                    self._left -= target.stat().st_size
                    return own
                if copied is None:
                    self.is_waiting = True
                    break
        target.unlink(missing_ok=True)
        self.remarks.append(f"{_shown(reference)}, which the model refers to, {reason}.")
        return None


def _places(reference: str, *, encoded: bool) -> list[PurePosixPath]:
    """Where a reference may be meant to lie in the model's folder: there, then by its last name alone."""
    text = reference.strip().strip('"')
    if len(text) > LONGEST_NAME or "\0" in text or not text:
        return []
    if _SCHEME.match(text):
        if not text.lower().startswith("file:"):
            return []
        text, encoded = text[5:], True
    if encoded:
        text = unquote(text.partition("#")[0].partition("?")[0])
    text = text.replace("\\", "/")
    bare = _DRIVE.sub("", text)
    parts: list[str] = []
    inside = bare == text
    for part in bare.split("/"):
        if part == ".." and not parts:
            inside = False
        elif part == "..":
            parts.pop()
        elif part not in {"", "."}:
            parts.append(part)
    if not parts or any(len(part.encode()) > 255 or "\0" in part for part in parts):
        return []
    last = PurePosixPath(parts[-1])
    whole = PurePosixPath(*parts)
    return [whole, last] if inside and whole != last else [last]


def _suffix(reference: str) -> str:
    suffix = PurePosixPath(reference.replace("\\", "/").strip()).suffix.lower()
    return suffix if _SAFE_SUFFIX.fullmatch(suffix) else ""


def _shown(reference: str) -> str:
    """Return the last name of a reference, fit for a sentence; a data URI or a whole path is not."""
    last = reference.replace("\\", "/").rstrip("/").rpartition("/")[2]
    printable = "".join(letter if letter.isprintable() else "?" for letter in last)
    return printable[:80] or "A file"
